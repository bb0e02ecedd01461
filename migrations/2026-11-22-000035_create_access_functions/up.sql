-- Called by the administrator, as the owner. NULL keeps what the last policy has; the first has the defaults.
CREATE FUNCTION pii_vault.set_policy(
    alone_limit integer, approvals integer, longest_grant_seconds integer, case_pattern text,
    checkpoints pii_vault.checkpoint_policy, reason text
)
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    at constant timestamptz := pii_vault.audit_lock();
    policy pii_vault.access_policy;
BEGIN
    SELECT p.* INTO policy FROM pii_vault.access_policy AS p ORDER BY p.seq DESC LIMIT 1;
    policy.alone_limit := coalesce(set_policy.alone_limit, policy.alone_limit, 10);
    policy.approvals := coalesce(set_policy.approvals, policy.approvals, 1);
    policy.longest_grant_seconds := coalesce(set_policy.longest_grant_seconds, policy.longest_grant_seconds, 28800);
    policy.case_pattern := coalesce(set_policy.case_pattern, policy.case_pattern, '.+');
    -- By default required where a notary has been at work.
    policy.checkpoints := coalesce(
        set_policy.checkpoints, policy.checkpoints,
        CASE WHEN EXISTS (SELECT FROM pii_vault.checkpoints) THEN 'required' ELSE 'scheduled' END::pii_vault.checkpoint_policy
    );
    -- Alone as well as between anchors: what closes the group and opens another would not be held by them.
    BEGIN
        PERFORM 'x' ~ policy.case_pattern, 'x' ~ ('^(?:' || policy.case_pattern || ')$');
    EXCEPTION WHEN invalid_regular_expression THEN
        RAISE 'the pattern of a case id is no regular expression'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'case_pattern';
    END;
    policy.seq := pii_vault.audit_append(
        at, pii_vault.audit_origin(), 'policy', NULL, NULL, NULL, left(set_policy.reason, 1000), NULL,
        json_build_object(
            'alone_limit', policy.alone_limit, 'approvals', policy.approvals,
            'longest_grant_seconds', policy.longest_grant_seconds, 'case_pattern', policy.case_pattern,
            'checkpoints', policy.checkpoints
        )
    );
    INSERT INTO pii_vault.access_policy SELECT policy.*;
    RETURN policy.seq;
END
$$;
COMMENT ON FUNCTION pii_vault.set_policy IS 'Sets what may be opened, and records it';

-- Why a text, case or list of fields is of no use; NULL where they are.
CREATE FUNCTION pii_vault.access_form(reason text, case_id text, fields pii_vault.sealed_field[])
RETURNS pii_vault.access_refusal
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    policy pii_vault.access_policy;
BEGIN
    SELECT p.* INTO policy FROM pii_vault.access_policy AS p ORDER BY p.seq DESC LIMIT 1;
    IF NOT FOUND THEN
        RETURN 'no_policy';
    END IF;
    IF (char_length(reason) BETWEEN 1 AND 1000 AND reason ~ '[^[:space:]]' AND array_position(fields, NULL) IS NULL
        AND cardinality(fields) > 0) IS NOT TRUE
    THEN
        RETURN 'malformed';
    END IF;
    -- ASCII without spaces, so that every implementation of a pattern reads it alike.
    IF (case_id ~ '^[!-~]{1,100}$' AND case_id ~ ('^(?:' || policy.case_pattern || ')$')) IS NOT TRUE THEN
        RETURN 'case_form';
    END IF;
    RETURN NULL;
END
$$;

-- None where one of them is NULL, which is no field that a record could name, and that nobody could ask for.
CREATE FUNCTION pii_vault.distinct_fields(fields pii_vault.sealed_field[]) RETURNS pii_vault.sealed_field[]
LANGUAGE sql IMMUTABLE
SET search_path = pii_vault, pg_temp
AS $$
    SELECT CASE WHEN count(*) = count(f) THEN coalesce(array_agg(DISTINCT f ORDER BY f), '{}') ELSE '{}' END
    FROM unnest(fields) AS f
$$;

CREATE FUNCTION pii_vault.request_access(
    fields pii_vault.sealed_field[], reason text, case_id text, max_values integer, duration_seconds integer,
    OUT request uuid, OUT refusal pii_vault.access_refusal
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    at constant timestamptz := pii_vault.audit_lock();
    asked constant pii_vault.sealed_field[] := pii_vault.distinct_fields(request_access.fields);
    policy pii_vault.access_policy;
BEGIN
    PERFORM pii_vault.require_member('pii_vault_unmask');
    request := gen_random_uuid();
    SELECT p.* INTO policy FROM pii_vault.access_policy AS p ORDER BY p.seq DESC LIMIT 1;
    refusal := pii_vault.access_form(request_access.reason, request_access.case_id, asked);
    IF refusal IS NULL AND (request_access.max_values BETWEEN 1 AND 1000000) IS NOT TRUE THEN
        refusal := 'too_many_values';
    END IF;
    IF refusal IS NULL AND (request_access.duration_seconds BETWEEN 60 AND policy.longest_grant_seconds) IS NOT TRUE THEN
        refusal := 'too_long';
    END IF;
    IF refusal IS NULL THEN
        INSERT INTO pii_vault.access_requests
            (id, requested_at, requester, fields, reason, case_id, max_values, duration_seconds, approvals_needed)
        VALUES (
            request, at, session_user, asked, request_access.reason, request_access.case_id,
            request_access.max_values, request_access.duration_seconds, policy.approvals
        );
    END IF;
    PERFORM pii_vault.audit_append(
        at, pii_vault.audit_origin(), 'access_request', request,
        CASE WHEN refusal IS NULL THEN 'allowed' ELSE 'refused' END::pii_vault.audit_decision, refusal,
        left(request_access.reason, 1000), left(request_access.case_id, 100),
        json_build_object(
            'fields', asked, 'max_values', request_access.max_values, 'duration_seconds', request_access.duration_seconds,
            'approvals_needed', policy.approvals
        )
    );
END
$$;
COMMENT ON FUNCTION pii_vault.request_access IS 'Asks for a grant. A refusal is recorded as well';

CREATE FUNCTION pii_vault.decide_access(request uuid, verdict pii_vault.access_verdict, reason text)
RETURNS pii_vault.access_refusal
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    at constant timestamptz := pii_vault.audit_lock();
    asked pii_vault.access_grants;
    refusal pii_vault.access_refusal;
BEGIN
    PERFORM pii_vault.require_member('pii_vault_approver');
    SELECT g.* INTO asked FROM pii_vault.access_grants AS g WHERE g.id = decide_access.request;
    refusal := CASE
        WHEN asked.id IS NULL THEN 'unknown_request'
        WHEN decide_access.verdict IS NULL THEN 'malformed'
        WHEN asked.requester = session_user::text THEN 'own_request'
        WHEN asked.state IN ('denied', 'revoked') OR session_user::text = ANY (asked.approved_by) THEN 'already_decided'
        WHEN asked.state IN ('granted', 'expired') THEN 'already_granted'
        WHEN NOT EXISTS (SELECT FROM pii_vault.access_policy) THEN 'no_policy'
    END;
    IF refusal IS NULL THEN
        INSERT INTO pii_vault.access_decisions (request, requester, decided_by, decided_at, verdict)
        VALUES (asked.id, asked.requester, session_user, at, decide_access.verdict);
    END IF;
    PERFORM pii_vault.audit_append(
        at, pii_vault.audit_origin(),
        CASE decide_access.verdict WHEN 'denied' THEN 'access_denial' ELSE 'access_approval' END::pii_vault.audit_action,
        decide_access.request, CASE WHEN refusal IS NULL THEN 'allowed' ELSE 'refused' END::pii_vault.audit_decision,
        refusal, left(decide_access.reason, 1000), asked.case_id, json_build_object('requester', asked.requester)
    );
    RETURN refusal;
END
$$;
COMMENT ON FUNCTION pii_vault.decide_access IS 'Approves or denies what another asked for. A refusal is recorded as well';

-- In force when it commits. Takes no lock that another could hold, and adds nothing to the log: whoever is next does.
CREATE FUNCTION pii_vault.revoke_access(request uuid, reason text) RETURNS pii_vault.access_refusal
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    asked pii_vault.access_requests;
    refusal pii_vault.access_refusal;
BEGIN
    SELECT r.* INTO asked FROM pii_vault.access_requests AS r WHERE r.id = revoke_access.request;
    refusal := CASE
        WHEN asked.id IS NULL THEN 'unknown_request'
        WHEN asked.requester <> session_user::text AND NOT pii_vault.is_member('pii_vault_approver')
            THEN 'not_yours'
    END;
    IF refusal IS NOT NULL THEN
        PERFORM pii_vault.audit_append(
            pii_vault.audit_lock(), pii_vault.audit_origin(), 'access_revocation', revoke_access.request, 'refused',
            refusal, left(revoke_access.reason, 1000), asked.case_id, json_build_object()
        );
        RETURN refusal;
    END IF;
    INSERT INTO pii_vault.access_revocations (id, request, revoked_at, reason, origin, revoked_by)
    VALUES (
        gen_random_uuid(), asked.id, clock_timestamp(), left(revoke_access.reason, 1000), pii_vault.audit_origin(),
        session_user
    )
    ON CONFLICT DO NOTHING;
    RETURN CASE WHEN FOUND THEN NULL ELSE 'already_decided'::pii_vault.access_refusal END;
END
$$;
COMMENT ON FUNCTION pii_vault.revoke_access IS 'Takes a grant back, or withdraws a request; in force when it commits';

-- All of them for approvers and auditors, one's own for officers.
CREATE FUNCTION pii_vault.list_access() RETURNS SETOF pii_vault.access_grants
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
    SELECT g.* FROM pii_vault.access_grants AS g
    WHERE g.requester = session_user::text
        OR pii_vault.is_member('pii_vault_approver')
        OR pii_vault.is_member('pii_vault_auditor')
$$;
COMMENT ON FUNCTION pii_vault.list_access IS 'Requests and what became of them';

CREATE FUNCTION pii_vault.current_policy() RETURNS SETOF pii_vault.access_policy
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$ SELECT p.* FROM pii_vault.access_policy AS p ORDER BY p.seq DESC LIMIT 1 $$;
COMMENT ON FUNCTION pii_vault.current_policy IS 'The policy in force; no row: nothing opens';

REVOKE EXECUTE ON FUNCTION
    pii_vault.set_policy, pii_vault.access_form, pii_vault.distinct_fields, pii_vault.request_access,
    pii_vault.decide_access, pii_vault.revoke_access, pii_vault.list_access, pii_vault.current_policy
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pii_vault.request_access TO pii_vault_unmask;
GRANT EXECUTE ON FUNCTION pii_vault.decide_access TO pii_vault_approver;
GRANT EXECUTE ON FUNCTION pii_vault.revoke_access TO pii_vault_unmask, pii_vault_approver;
GRANT EXECUTE ON FUNCTION pii_vault.list_access, pii_vault.current_policy
    TO pii_vault_unmask, pii_vault_approver, pii_vault_auditor;
