-- Checkpoints: heads of the audit log that the notary signed. No two for one entry, none before another, none that the
-- log does not hold. What they are good for is that copies lie outside of this database; here they are what readers
-- wait for.

CREATE TRIGGER no_row_is_changed BEFORE UPDATE OR DELETE ON pii_vault.checkpoints
    FOR EACH ROW EXECUTE FUNCTION pii_vault.refuse_change();
CREATE TRIGGER nothing_is_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON pii_vault.checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION pii_vault.refuse_change();
ALTER TABLE pii_vault.checkpoints
    ENABLE ALWAYS TRIGGER no_row_is_changed, ENABLE ALWAYS TRIGGER nothing_is_changed;

COMMENT ON COLUMN pii_vault.checkpoints.at IS 'By the clock of the notary, which may go back';
COMMENT ON COLUMN pii_vault.checkpoints.signing_key IS 'As KMS names it';
COMMENT ON COLUMN pii_vault.checkpoints.signature IS 'ECDSA on P-256 with SHA-256 over the bytes of keys/FORMAT.md, in DER';

-- The bytes that are signed. Called by functions of the owner alone.
CREATE FUNCTION pii_vault.checkpoint_bytes(vault uuid, checkpoint pii_vault.checkpoints) RETURNS bytea
LANGUAGE sql IMMUTABLE
SET search_path = pii_vault, pg_temp
AS $$
    SELECT pii_vault.audit_part('pii-vault/v1/checkpoint') || pii_vault.audit_part(uuid_send(checkpoint_bytes.vault))
        || pii_vault.audit_part(int8send(checkpoint.seq)) || pii_vault.audit_part(checkpoint.head_hash)
        || pii_vault.audit_part(checkpoint.previous_hash)
        || pii_vault.audit_part(int8send(pii_vault.unix_microseconds(checkpoint.at)))
$$;

-- Whether there is something to sign: a look that waits for nobody and holds nothing.
CREATE FUNCTION pii_vault.notary_state(OUT head_seq bigint, OUT signed_seq bigint)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
    SELECT h.seq, (SELECT coalesce(max(c.seq), 0) FROM pii_vault.checkpoints AS c) FROM pii_vault.audit_head AS h
$$;
COMMENT ON FUNCTION pii_vault.notary_state IS 'The last entry of the audit log, and the last that a checkpoint is for; 0 for none';

-- Until the transaction ends, this one alone adds checkpoints; readers are not held up. No row: another has been at it
-- for 5 s.
CREATE FUNCTION pii_vault.begin_checkpoint()
RETURNS TABLE (
    vault uuid, head_seq bigint, head_hash bytea, seq bigint, signed_hash bytea, previous_hash bytea, at timestamptz,
    signing_key text, signature bytea
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pii_vault, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
BEGIN
    -- An older snapshot would not show the checkpoint that was waited for.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'this needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    BEGIN
        LOCK TABLE pii_vault.checkpoints IN SHARE ROW EXCLUSIVE MODE;
    EXCEPTION WHEN lock_not_available THEN
        RETURN;
    END;
    RETURN QUERY
    SELECT v.id, h.seq, h.hash, c.seq, c.head_hash, c.previous_hash, c.at, c.signing_key, c.signature
    FROM pii_vault.audit_head AS h CROSS JOIN pii_vault.vault AS v
    LEFT JOIN (SELECT x.* FROM pii_vault.checkpoints AS x ORDER BY x.seq DESC LIMIT 1) AS c ON true;
END
$$;
COMMENT ON FUNCTION pii_vault.begin_checkpoint IS
    'The head of the audit log and the last checkpoint, under a lock that keeps all others from adding one';

-- What is to be signed is read and hashed anew by who signs it.
CREATE FUNCTION pii_vault.notary_entries(after_seq bigint, through_seq bigint) RETURNS SETOF pii_vault.audit_log
LANGUAGE sql STABLE STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
    SELECT l.* FROM pii_vault.audit_log AS l
    WHERE l.seq > notary_entries.after_seq AND l.seq <= notary_entries.through_seq
    ORDER BY l.seq LIMIT 500
$$;
COMMENT ON FUNCTION pii_vault.notary_entries IS 'Entries of the audit log in order, 500 at most';

-- The signature is not verified here: PostgreSQL cannot. Who relies on one verifies it.
CREATE FUNCTION pii_vault.store_checkpoint(
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
COMMENT ON FUNCTION pii_vault.store_checkpoint IS 'Adds a checkpoint that follows the last one and that the log holds';

REVOKE EXECUTE ON FUNCTION
    pii_vault.checkpoint_bytes, pii_vault.notary_state, pii_vault.begin_checkpoint, pii_vault.notary_entries,
    pii_vault.store_checkpoint
    FROM PUBLIC;
GRANT USAGE ON SCHEMA pii_vault TO pii_vault_notary;
GRANT EXECUTE ON FUNCTION
    pii_vault.notary_state, pii_vault.begin_checkpoint, pii_vault.notary_entries, pii_vault.store_checkpoint
    TO pii_vault_notary;
