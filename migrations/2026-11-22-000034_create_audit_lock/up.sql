-- Whether the login may take on a role, or has its rights. Since PostgreSQL 16 who made a role is a member that can do neither.
CREATE FUNCTION pii_vault.is_member(role name) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pii_vault, pg_temp
AS $$
    SELECT CASE WHEN current_setting('server_version_num')::integer < 160000
        THEN pg_has_role(session_user, is_member.role, 'MEMBER')
        ELSE pg_has_role(session_user, is_member.role, 'USAGE') OR pg_has_role(session_user, is_member.role, 'SET')
    END
$$;

-- A session that took on a role keeps it until it ends, also when the login is no member any more.
CREATE FUNCTION pii_vault.require_member(role name) RETURNS void
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
BEGIN
    IF pii_vault.is_member(require_member.role) IS NOT TRUE THEN
        RAISE 'this login is no member of %', require_member.role USING ERRCODE = 'insufficient_privilege';
    END IF;
END
$$;
REVOKE EXECUTE ON FUNCTION pii_vault.is_member, pii_vault.require_member FROM PUBLIC;

-- Whether a transaction of this cluster is committed. In a dump that was restored into another cluster the numbers mean
-- nothing; one that it has not come to yet would be an error to pg_xact_status.
CREATE FUNCTION pii_vault.is_committed(xid xid8) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
BEGIN
    IF (is_committed.xid < pg_snapshot_xmax(pg_current_snapshot())) IS NOT TRUE THEN
        RETURN false;
    END IF;
    -- NULL: so long ago that it is not known any more.
    RETURN coalesce(pg_xact_status(is_committed.xid) = 'committed', false);
END
$$;
REVOKE EXECUTE ON FUNCTION pii_vault.is_committed FROM PUBLIC;

-- Every function that records begins with it, and judges by what it reads after it. Returns the time of the record.
-- Waits at most 5 s, then it fails (55P03): for the lock on a table, which is one wait in one queue. A row that others
-- lock and update is waited for anew after each of them, and lock_timeout counts each wait for itself.
CREATE FUNCTION pii_vault.audit_lock() RETURNS timestamptz
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
SET lock_timeout = '5s'
SET client_min_messages = 'error'
SET debug_print_plan = off
AS $$
DECLARE
    revocation pii_vault.access_revocations;
    chained bigint;
BEGIN
    -- An older snapshot would not show a revocation.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'this needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    BEGIN
        LOCK TABLE pii_vault.audit_turn IN SHARE UPDATE EXCLUSIVE MODE;
    EXCEPTION WHEN lock_not_available THEN
        -- With a word where a client can read it without reading the sentence.
        RAISE 'another transaction holds the audit log'
            USING ERRCODE = 'lock_not_available', CONSTRAINT = 'log_is_held';
    END;
    PERFORM FROM pii_vault.audit_head FOR UPDATE;
    -- Before what is recorded next, so that nothing is allowed after a revocation that the log shows. They are in force
    -- already: a hundred at a time, those of others first, so that nobody makes who is next chain thousands of her own.
    FOR revocation IN
        SELECT r.* FROM pii_vault.access_revocations AS r
        LEFT JOIN pii_vault.access_requests AS q ON q.id = r.request
        WHERE r.seq IS NULL
        ORDER BY r.revoked_by IS NOT DISTINCT FROM q.requester, r.revoked_at, r.id LIMIT 100
    LOOP
        chained := pii_vault.audit_append(
            clock_timestamp(), revocation.origin, 'access_revocation', revocation.request, 'allowed', NULL,
            revocation.reason, (SELECT q.case_id FROM pii_vault.access_requests AS q WHERE q.id = revocation.request),
            json_build_object('revoked_at', pii_vault.unix_microseconds(revocation.revoked_at))
        );
        UPDATE pii_vault.access_revocations AS r SET seq = chained WHERE r.id = revocation.id;
    END LOOP;
    RETURN clock_timestamp();
END
$$;
REVOKE EXECUTE ON FUNCTION pii_vault.audit_lock FROM PUBLIC;

-- For who revoked, and has nothing else to record.
CREATE FUNCTION pii_vault.chain_revocations() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
BEGIN
    PERFORM pii_vault.audit_lock();
END
$$;
COMMENT ON FUNCTION pii_vault.chain_revocations IS 'Adds to the log what revocations are not in it yet, a hundred at a time';
REVOKE EXECUTE ON FUNCTION pii_vault.chain_revocations FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pii_vault.chain_revocations TO pii_vault_unmask, pii_vault_approver;

-- Called by the administrator, as the owner.
CREATE FUNCTION pii_vault.record_init(migrations integer, made_token_key boolean) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    at timestamptz;
BEGIN
    IF migrations = 0 AND NOT made_token_key
        AND EXISTS (SELECT FROM pii_vault.audit_log AS l WHERE l.action = 'init')
    THEN
        RETURN NULL;
    END IF;
    at := pii_vault.audit_lock();
    RETURN pii_vault.audit_append(
        at, pii_vault.audit_origin(), 'init', (SELECT v.id FROM pii_vault.vault AS v), NULL, NULL, NULL, NULL,
        json_build_object('migrations', record_init.migrations, 'made_token_key', record_init.made_token_key)
    );
END
$$;
COMMENT ON FUNCTION pii_vault.record_init IS 'Records that the schema was made or brought up to date; NULL: it was not, and the log has its beginning';
REVOKE EXECUTE ON FUNCTION pii_vault.record_init FROM PUBLIC;
