-- What was recorded before an older state of the database was brought back into service hands out nothing any more. The
-- log itself says so, and no other row has to be believed.
CREATE INDEX audit_log_restored ON pii_vault.audit_log (seq) WHERE action = 'restored';

CREATE FUNCTION pii_vault.closed_by_restore(seq bigint) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pii_vault, pg_temp
AS $$
    SELECT EXISTS (
        SELECT FROM pii_vault.audit_log AS l WHERE l.action = 'restored' AND l.seq > coalesce(closed_by_restore.seq, 0)
    )
$$;
REVOKE EXECUTE ON FUNCTION pii_vault.closed_by_restore FROM PUBLIC;

-- As before, and stale where it was closed: whatever its transaction's number means in this cluster.
CREATE OR REPLACE FUNCTION pii_vault.own_receipt(receipt uuid) RETURNS pii_vault.receipts
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own pii_vault.receipts;
BEGIN
    -- An older snapshot would read past a revocation.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'this needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    SELECT t.* INTO own FROM pii_vault.receipts AS t WHERE t.id = own_receipt.receipt;
    IF own.actor = session_user::text AND pii_vault.closed_by_restore(own.seq) THEN
        RAISE 'an older state of the database was restored since this receipt was recorded'
            USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'stale';
    END IF;
    IF own.actor IS DISTINCT FROM session_user::text
        OR own.recorded_by = pg_current_xact_id_if_assigned()
        OR pii_vault.is_committed(own.recorded_by) IS NOT TRUE
    THEN
        RAISE 'no committed receipt of this login' USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM pii_vault.require_member(CASE own.kind WHEN 'lookup' THEN 'pii_vault_lookup' ELSE 'pii_vault_unmask' END);
    RETURN own;
END
$$;

CREATE OR REPLACE FUNCTION pii_vault.own_redrive_job(job uuid) RETURNS pii_vault.redrive_jobs
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    found_job pii_vault.redrive_jobs;
BEGIN
    PERFORM pii_vault.require_member('pii_vault_redrive');
    -- An older snapshot would not show what others did since.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'redriving needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    SELECT j.* INTO found_job FROM pii_vault.redrive_jobs AS j WHERE j.id = own_redrive_job.job;
    IF found_job.actor = session_user::text AND pii_vault.closed_by_restore(found_job.seq) THEN
        RAISE 'an older state of the database was restored since this job was recorded'
            USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'stale';
    END IF;
    IF found_job.actor IS DISTINCT FROM session_user::text
        OR found_job.recorded_by = pg_current_xact_id_if_assigned()
        OR pii_vault.is_committed(found_job.recorded_by) IS NOT TRUE
    THEN
        RAISE 'no committed redrive job of this login' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN found_job;
END
$$;
