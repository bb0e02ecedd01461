-- The receipt, if this login recorded it in a transaction that is committed and is not this one. Every function below
-- begins with it; nobody else may call it.
CREATE FUNCTION pii_vault.own_receipt(receipt uuid) RETURNS pii_vault.receipts
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

-- Why nothing is handed out for a receipt at this moment; NULL where it is.
CREATE FUNCTION pii_vault.fetch_refusal(own pii_vault.receipts) RETURNS pii_vault.access_refusal
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    policy pii_vault.access_policy;
    state pii_vault.access_state;
BEGIN
    IF own.decision IS DISTINCT FROM 'allowed' THEN
        RETURN coalesce(own.refusal, 'malformed');
    END IF;
    IF (own.recorded_at > clock_timestamp() - interval '10 minutes') IS NOT TRUE THEN
        RETURN 'stale';
    END IF;
    IF own.armed_by IS NULL OR own.armed_by IS NOT DISTINCT FROM pg_current_xact_id_if_assigned()
        OR pii_vault.is_committed(own.armed_by) IS NOT TRUE
    THEN
        RETURN 'not_armed';
    END IF;
    -- A session could commit the record with synchronous_commit off, read, and lose the record to a crash.
    IF (own.armed_at_lsn <= pg_current_wal_flush_lsn()) IS NOT TRUE THEN
        RETURN 'not_durable';
    END IF;
    SELECT p.* INTO policy FROM pii_vault.access_policy AS p ORDER BY p.seq DESC LIMIT 1;
    IF NOT FOUND THEN
        RETURN 'no_policy';
    END IF;
    IF own.grant_id IS NOT NULL THEN
        SELECT g.state INTO state FROM pii_vault.access_grants AS g WHERE g.id = own.grant_id;
        IF state IS DISTINCT FROM 'granted' THEN
            RETURN CASE state WHEN 'revoked' THEN 'revoked' WHEN 'expired' THEN 'expired' WHEN 'denied' THEN 'denied'
                ELSE 'not_approved' END;
        END IF;
    ELSIF own.kind = 'unmask' AND pii_vault.closed_case(own.case_id) IS NOT NULL THEN
        RETURN pii_vault.closed_case(own.case_id);
    END IF;
    IF policy.checkpoints IS DISTINCT FROM 'scheduled'
        AND NOT EXISTS (SELECT FROM pii_vault.checkpoints AS c WHERE c.seq >= own.seq)
    THEN
        RETURN 'no_checkpoint';
    END IF;
    RETURN NULL;
END
$$;

-- The second. Tells what was decided, and where it was allowed notes where the write-ahead log stands now that the
-- record is committed: fetching waits for the disk to get there.
CREATE FUNCTION pii_vault.arm_receipt(receipt uuid)
RETURNS TABLE (
    vault uuid, seq bigint, decision pii_vault.audit_decision, refusal pii_vault.access_refusal, grant_id uuid,
    row_count integer, value_count integer
)
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    own constant pii_vault.receipts := pii_vault.own_receipt(arm_receipt.receipt);
BEGIN
    IF own.decision = 'allowed' AND own.kind <> 'dry_run' THEN
        UPDATE pii_vault.receipts AS t SET armed_at_lsn = pg_current_wal_insert_lsn(), armed_by = pg_current_xact_id()
        WHERE t.id = own.id AND t.armed_by IS NULL;
    END IF;
    RETURN QUERY SELECT (SELECT v.id FROM pii_vault.vault AS v), own.seq, own.decision, own.refusal, own.grant_id, own.row_count, own.value_count;
END
$$;
COMMENT ON FUNCTION pii_vault.arm_receipt IS
    'The second of record, arm, fetch, settle: tells what was decided, and arms what was allowed. Commit before you go on';

-- The third: 500 rows of the list beyond an ordinal and no others, the fields that were asked for and no others, as
-- often as they are asked for until the receipt is stale. What was deleted since is left out.
CREATE FUNCTION pii_vault.fetch_unmask(receipt uuid, after_ordinal integer)
RETURNS TABLE (
    ordinal integer, create_date date, event_id uuid, user_id text, ip_ciphertext bytea, device_id_ciphertext bytea,
    data_key_id uuid, wrapped_key bytea, kms_key text, commitment bytea, max_step integer
)
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    own constant pii_vault.receipts := pii_vault.own_receipt(fetch_unmask.receipt);
    refusal constant pii_vault.access_refusal := pii_vault.fetch_refusal(own);
BEGIN
    IF refusal IS NOT NULL OR own.kind <> 'unmask' THEN
        -- The word goes where a client can read it without reading the sentence.
        RAISE 'nothing is handed out for this receipt: %', coalesce(refusal::text, own.kind::text)
            USING ERRCODE = 'insufficient_privilege', CONSTRAINT = coalesce(refusal::text, 'malformed');
    END IF;
    RETURN QUERY
    SELECT r.ordinal, e.create_date, e.event_id, e.user_id::text,
        CASE WHEN 'ip' = ANY (own.fields) THEN e.ip_ciphertext END,
        CASE WHEN 'device_id' = ANY (own.fields) THEN e.device_id_ciphertext END,
        e.data_key_id, k.wrapped_key::bytea, k.kms_key, k.commitment::bytea, k.max_step
    FROM (
        SELECT x.ordinal, x.create_date, x.event_id FROM pii_vault.receipt_rows AS x
        WHERE x.receipt = own.id AND x.ordinal > fetch_unmask.after_ordinal
            AND x.ordinal <= fetch_unmask.after_ordinal::bigint + 500
    ) AS r
    JOIN pii_vault.login_events AS e ON e.create_date = r.create_date AND e.event_id = r.event_id
    LEFT JOIN pii_vault.data_keys AS k ON k.id = e.data_key_id AND k.state <> 'retired'
    ORDER BY r.ordinal;
END
$$;
COMMENT ON FUNCTION pii_vault.fetch_unmask IS
    'The third of record, arm, fetch, settle: sealed fields of the rows of an armed receipt, with their wrapped keys';

CREATE TYPE pii_vault.open_failure AS ENUM (
    'deleted', 'key_missing', 'key_does_not_unwrap', 'key_commitment',
    'too_short', 'unknown_version', 'step_above_maximum', 'not_authentic', 'malformed_plaintext'
);
COMMENT ON TYPE pii_vault.open_failure IS
    'deleted: the row went after the record; key_missing: its data key is not there, or retired; '
    'key_does_not_unwrap: KMS knows the wrapped key as altered, moved or another''s; '
    'key_commitment: the key is not the one that was stored; '
    'too_short, unknown_version, step_above_maximum: of the stored form; '
    'not_authentic: altered, moved to another row, or sealed under another key; malformed_plaintext: what sealing never makes';

-- The fourth, committed before anything of the page is shown: what became of rows after those that have an outcome, up
-- to `last`.
CREATE FUNCTION pii_vault.settle_unmask(
    receipt uuid, last integer, failed_ordinals integer[], failures pii_vault.open_failure[]
)
RETURNS void
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    at constant timestamptz := pii_vault.audit_lock();
    own constant pii_vault.receipts := pii_vault.own_receipt(settle_unmask.receipt);
BEGIN
    IF own.kind <> 'unmask' OR own.armed_by IS NULL
        OR settle_unmask.last NOT BETWEEN own.settled_through + 1 AND own.row_count
        OR cardinality(failed_ordinals) <> cardinality(failures)
        OR cardinality(failed_ordinals) > settle_unmask.last - own.settled_through
        OR array_position(failures, NULL) IS NOT NULL
        OR EXISTS (
            SELECT FROM unnest(failed_ordinals) AS f
            WHERE (f BETWEEN own.settled_through + 1 AND settle_unmask.last) IS NOT TRUE
        )
        OR (SELECT count(DISTINCT f) FROM unnest(failed_ordinals) AS f) <> cardinality(failed_ordinals)
    THEN
        RAISE 'this is no outcome of rows of the receipt' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    UPDATE pii_vault.receipts AS t SET settled_through = settle_unmask.last WHERE t.id = own.id;
    PERFORM pii_vault.audit_append(
        at, pii_vault.audit_origin(), 'unmask_page', own.id, NULL, NULL, NULL, own.case_id,
        json_build_object(
            'first', own.settled_through + 1, 'last', settle_unmask.last,
            'opened', settle_unmask.last - own.settled_through - cardinality(failed_ordinals),
            'failed', (
                SELECT coalesce(json_agg(json_build_object('event_id', r.event_id, 'why', f.why) ORDER BY r.ordinal), '[]')
                FROM unnest(failed_ordinals, failures) AS f (ordinal, why)
                JOIN pii_vault.receipt_rows AS r ON r.receipt = own.id AND r.ordinal = f.ordinal
            )
        )
    );
END
$$;
COMMENT ON FUNCTION pii_vault.settle_unmask IS
    'The fourth of record, arm, fetch, settle: what became of rows of the receipt, each once, before they are shown';

-- For a client that was refused on the way: a refusal of fetching leaves no trace by itself.
CREATE FUNCTION pii_vault.record_refusal(receipt uuid) RETURNS pii_vault.access_refusal
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    at constant timestamptz := pii_vault.audit_lock();
    own constant pii_vault.receipts := pii_vault.own_receipt(record_refusal.receipt);
    refusal constant pii_vault.access_refusal := pii_vault.fetch_refusal(own);
BEGIN
    IF refusal IS NOT NULL AND own.decision = 'allowed' THEN
        PERFORM pii_vault.audit_append(
            at, pii_vault.audit_origin(),
            CASE own.kind WHEN 'lookup' THEN 'lookup_tokens' ELSE 'unmask_page' END::pii_vault.audit_action, own.id,
            'refused', refusal, NULL, own.case_id, json_build_object('first', own.settled_through + 1)
        );
    END IF;
    RETURN refusal;
END
$$;
COMMENT ON FUNCTION pii_vault.record_refusal IS 'Records why nothing more is handed out for a receipt, and tells it';

REVOKE EXECUTE ON FUNCTION
    pii_vault.own_receipt, pii_vault.fetch_refusal, pii_vault.arm_receipt, pii_vault.fetch_unmask,
    pii_vault.settle_unmask, pii_vault.record_refusal
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pii_vault.arm_receipt, pii_vault.record_refusal TO pii_vault_unmask, pii_vault_lookup;
GRANT EXECUTE ON FUNCTION pii_vault.fetch_unmask, pii_vault.settle_unmask TO pii_vault_unmask;
