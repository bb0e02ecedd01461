-- Values to tokens: the row of intent, before the token keys are handed out. As record_unmask, an id and no more.
CREATE FUNCTION pii_vault.record_lookup(field pii_vault.sealed_field, value_count integer, reason text, case_id text)
RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pii_vault, pg_temp
SET client_min_messages = 'error'
SET debug_print_plan = off
AS $$
DECLARE
    receipt constant uuid := gen_random_uuid();
    asked constant pii_vault.sealed_field[] := pii_vault.distinct_fields(ARRAY[record_lookup.field]);
    at constant timestamptz := pii_vault.audit_lock();
    refusal pii_vault.access_refusal;
    seq bigint;
BEGIN
    PERFORM pii_vault.require_member('pii_vault_lookup');
    refusal := pii_vault.access_form(record_lookup.reason, record_lookup.case_id, asked);
    IF refusal IS NULL AND (record_lookup.value_count BETWEEN 1 AND 10000) IS NOT TRUE THEN
        refusal := 'too_many_values';
    END IF;
    seq := pii_vault.audit_append(
        at, pii_vault.audit_origin(), 'lookup', receipt,
        CASE WHEN refusal IS NULL THEN 'allowed' ELSE 'refused' END::pii_vault.audit_decision, refusal,
        left(record_lookup.reason, 1000), left(record_lookup.case_id, 100),
        json_build_object('field', record_lookup.field, 'values', record_lookup.value_count)
    );
    INSERT INTO pii_vault.receipts
        (id, kind, seq, recorded_at, actor, fields, case_id, decision, refusal, row_count, value_count)
    VALUES (
        receipt, 'lookup', seq, at, session_user, asked, left(record_lookup.case_id, 100),
        CASE WHEN refusal IS NULL THEN 'allowed' ELSE 'refused' END::pii_vault.audit_decision, refusal,
        0, coalesce(record_lookup.value_count, 0)
    );
    RETURN receipt;
END
$$;
COMMENT ON FUNCTION pii_vault.record_lookup IS
    'The first of record, arm, fetch, settle: records that so many values are to be turned into tokens. Commit before you go on';

CREATE FUNCTION pii_vault.fetch_token_keys(receipt uuid)
RETURNS TABLE (
    id uuid, slot pii_vault.token_slot, state pii_vault.key_state, wrapped_key bytea, kms_key text, commitment bytea
)
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    own constant pii_vault.receipts := pii_vault.own_receipt(fetch_token_keys.receipt);
    refusal constant pii_vault.access_refusal := pii_vault.fetch_refusal(own);
BEGIN
    IF refusal IS NOT NULL OR own.kind <> 'lookup' THEN
        RAISE 'nothing is handed out for this receipt: %', coalesce(refusal::text, own.kind::text)
            USING ERRCODE = 'insufficient_privilege', CONSTRAINT = coalesce(refusal::text, 'malformed');
    END IF;
    RETURN QUERY
    SELECT k.id, k.slot, k.state, k.wrapped_key::bytea, k.kms_key, k.commitment::bytea
    FROM pii_vault.token_keys AS k WHERE k.state = 'active';
END
$$;
COMMENT ON FUNCTION pii_vault.fetch_token_keys IS
    'The third of record, arm, fetch, settle: the wrapped token key that the view shows the tokens of';

-- Committed before the tokens are shown.
CREATE FUNCTION pii_vault.settle_lookup(receipt uuid, tokens text[]) RETURNS void
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    at constant timestamptz := pii_vault.audit_lock();
    own constant pii_vault.receipts := pii_vault.own_receipt(settle_lookup.receipt);
BEGIN
    IF own.kind <> 'lookup' OR own.armed_by IS NULL OR own.settled_through > 0
        OR cardinality(settle_lookup.tokens) <> own.value_count
        OR EXISTS (SELECT FROM unnest(settle_lookup.tokens) AS t WHERE (octet_length(t) = 43) IS NOT TRUE)
    THEN
        RAISE 'these are no tokens of the look-up' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    UPDATE pii_vault.receipts AS t SET settled_through = own.value_count WHERE t.id = own.id;
    PERFORM pii_vault.audit_append(
        at, pii_vault.audit_origin(), 'lookup_tokens', own.id, NULL, NULL, NULL, own.case_id,
        json_build_object('tokens', settle_lookup.tokens)
    );
END
$$;
COMMENT ON FUNCTION pii_vault.settle_lookup IS
    'The fourth of record, arm, fetch, settle: the tokens, once, before they are shown';

REVOKE EXECUTE ON FUNCTION pii_vault.record_lookup, pii_vault.fetch_token_keys, pii_vault.settle_lookup FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pii_vault.record_lookup, pii_vault.fetch_token_keys, pii_vault.settle_lookup
    TO pii_vault_lookup;
