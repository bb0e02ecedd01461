-- An older state of the database is brought back into service by one entry of the log. Its number is beyond every one
-- that was signed outside, so that no number is signed twice; it says which are passed over, and why.

-- The checkpoint that an entry of the action restored names; NULLs where it names none.
CREATE FUNCTION pii_vault.lost_checkpoint(details json) RETURNS pii_vault.checkpoints
LANGUAGE sql IMMUTABLE
SET search_path = pii_vault, pg_temp
AS $$
    SELECT ROW(
        (c.lost ->> 'seq')::bigint, decode(c.lost ->> 'head_hash', 'hex'), decode(c.lost ->> 'previous_hash', 'hex'),
        timestamptz '1970-01-01 00:00:00+00' + (c.lost ->> 'at')::bigint * interval '1 microsecond',
        c.lost ->> 'signing_key', decode(c.lost ->> 'signature', 'base64')
    )::pii_vault.checkpoints
    FROM (SELECT lost_checkpoint.details -> 'checkpoint' AS lost) AS c
$$;

-- Called by the administrator, as the owner. Refuses where the log is not as it was looked at (serialization_failure), or
-- nothing tells that it was restored (nothing_restored). What is lost is NULL where nothing that was signed is; it was
-- verified outside, as PostgreSQL cannot. Revocations that are not in the log yet are left to who records next: they are
-- in force, and the head must stay what was compared.
CREATE FUNCTION pii_vault.record_restored(
    reason text, head_seq bigint, head_hash bytea, lost_after bigint, lost_seq bigint, lost_head_hash bytea,
    lost_previous_hash bytea, lost_at timestamptz, lost_signing_key text, lost_signature bytea
)
RETURNS TABLE (seq bigint, closed_receipts bigint, closed_redrive_jobs bigint)
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    head pii_vault.audit_head;
    soon constant timestamptz := clock_timestamp() - interval '10 minutes';
    next_xid constant xid8 := pg_snapshot_xmax(pg_current_snapshot());
    receipts bigint;
    jobs bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'this needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    IF (char_length(record_restored.reason) BETWEEN 1 AND 1000 AND btrim(record_restored.reason) <> '') IS NOT TRUE
        OR num_nulls(lost_after, lost_seq, lost_head_hash, lost_previous_hash, lost_at, lost_signing_key, lost_signature)
            NOT IN (0, 7)
        OR (lost_after BETWEEN 0 AND record_restored.head_seq AND lost_seq > lost_after) IS FALSE
    THEN
        RAISE 'this is no restore that could be recorded' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    BEGIN
        LOCK TABLE pii_vault.checkpoints IN SHARE ROW EXCLUSIVE MODE;
        LOCK TABLE pii_vault.audit_turn IN SHARE UPDATE EXCLUSIVE MODE;
    EXCEPTION WHEN lock_not_available THEN
        RAISE 'another transaction holds the audit log'
            USING ERRCODE = 'lock_not_available', CONSTRAINT = 'log_is_held';
    END;
    SELECT h.* INTO STRICT head FROM pii_vault.audit_head AS h FOR UPDATE;
    IF (head.seq, head.hash) IS DISTINCT FROM (record_restored.head_seq, record_restored.head_hash)
        OR EXISTS (SELECT FROM pii_vault.checkpoints AS c WHERE c.seq > coalesce(lost_after, head.seq))
    THEN
        RAISE 'something was recorded meanwhile' USING ERRCODE = 'serialization_failure';
    END IF;
    IF lost_seq IS NULL
        AND NOT EXISTS (
            SELECT FROM pii_vault.receipts AS t
            WHERE t.recorded_by >= next_xid AND NOT pii_vault.closed_by_restore(t.seq)
        )
        AND NOT EXISTS (
            SELECT FROM pii_vault.redrive_jobs AS j
            WHERE j.recorded_by >= next_xid AND NOT pii_vault.closed_by_restore(j.seq)
        )
    THEN
        RAISE 'nothing tells that this database was restored'
            USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'nothing_restored';
    END IF;
    SELECT count(*) INTO receipts FROM pii_vault.receipts AS t
    WHERE t.decision = 'allowed' AND t.kind <> 'dry_run' AND t.recorded_at > soon
        AND t.settled_through < CASE t.kind WHEN 'lookup' THEN t.value_count ELSE t.row_count END
        AND NOT pii_vault.closed_by_restore(t.seq);
    SELECT count(*) INTO jobs FROM pii_vault.redrive_jobs AS j
    WHERE j.seq IS NOT NULL AND j.recorded_at > soon AND NOT pii_vault.closed_by_restore(j.seq)
        AND EXISTS (SELECT FROM pii_vault.redrive_rows AS r WHERE r.job = j.id AND r.outcome IS NULL);
    UPDATE pii_vault.audit_head AS h SET seq = greatest(h.seq, lost_seq);
    RETURN QUERY SELECT
        pii_vault.audit_append(
            clock_timestamp(), pii_vault.audit_origin(), 'restored', NULL, NULL, NULL, record_restored.reason, NULL,
            json_build_object(
                'last', head.seq, 'lost_after', lost_after,
                'checkpoint', CASE WHEN lost_seq IS NOT NULL THEN json_build_object(
                    'seq', lost_seq, 'head_hash', encode(lost_head_hash, 'hex'),
                    'previous_hash', encode(lost_previous_hash, 'hex'), 'at', pii_vault.unix_microseconds(lost_at),
                    'signing_key', lost_signing_key,
                    'signature', replace(encode(lost_signature, 'base64'), chr(10), '')
                ) END,
                'closed_receipts', receipts, 'closed_redrive_jobs', jobs
            )
        ),
        receipts, jobs;
END
$$;
COMMENT ON FUNCTION pii_vault.record_restored IS
    'Records that an older state of the database is in service again; what was recorded before hands out nothing more';

-- What the notary has to know before it holds copies against the log.
CREATE FUNCTION pii_vault.notary_restored(after_seq bigint) RETURNS SETOF pii_vault.audit_log
LANGUAGE sql STABLE STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
    SELECT l.* FROM pii_vault.audit_log AS l
    WHERE l.action = 'restored' AND l.seq > notary_restored.after_seq ORDER BY l.seq
$$;
COMMENT ON FUNCTION pii_vault.notary_restored IS 'Entries of the action restored beyond one, in order';

-- As before; and after an entry that names a lost checkpoint, the next one follows that.
CREATE OR REPLACE FUNCTION pii_vault.store_checkpoint(
    seq bigint, head_hash bytea, previous_hash bytea, at timestamptz, signing_key text, signature bytea
)
RETURNS void
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    last pii_vault.checkpoints;
    expected bytea := decode(repeat('00', 32), 'hex');
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'this needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    LOCK TABLE pii_vault.checkpoints IN SHARE ROW EXCLUSIVE MODE;
    SELECT c.* INTO last FROM pii_vault.checkpoints AS c ORDER BY c.seq DESC LIMIT 1;
    IF FOUND THEN
        expected := sha256(pii_vault.checkpoint_bytes((SELECT v.id FROM pii_vault.vault AS v), last));
    END IF;
    SELECT coalesce(
        (
            SELECT sha256(pii_vault.checkpoint_bytes((SELECT v.id FROM pii_vault.vault AS v), pii_vault.lost_checkpoint(l.details)))
            FROM pii_vault.audit_log AS l
            WHERE l.action = 'restored' AND l.seq > coalesce(last.seq, 0) AND l.seq <= store_checkpoint.seq
                AND l.details ->> 'checkpoint' IS NOT NULL
            ORDER BY l.seq DESC LIMIT 1
        ),
        expected
    ) INTO expected;
    IF store_checkpoint.seq <= last.seq OR store_checkpoint.previous_hash <> expected OR NOT EXISTS (
        SELECT FROM pii_vault.audit_log AS l
        WHERE l.seq = store_checkpoint.seq AND l.hash = store_checkpoint.head_hash
    ) THEN
        RAISE 'this is not the next checkpoint of the log'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'checkpoint_is_next';
    END IF;
    INSERT INTO pii_vault.checkpoints (seq, head_hash, previous_hash, at, signing_key, signature)
    VALUES (
        store_checkpoint.seq, store_checkpoint.head_hash, store_checkpoint.previous_hash, store_checkpoint.at,
        store_checkpoint.signing_key, store_checkpoint.signature
    );
END
$$;

COMMENT ON COLUMN pii_vault.audit_log.seq IS 'From 1, without gaps but before an entry of the action restored';

REVOKE EXECUTE ON FUNCTION pii_vault.lost_checkpoint, pii_vault.record_restored, pii_vault.notary_restored FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pii_vault.notary_restored TO pii_vault_notary;
