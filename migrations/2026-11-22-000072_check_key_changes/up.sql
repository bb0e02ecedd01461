-- What may become of a key. Its id and its commitment stay what they are; what wraps it may change.
CREATE FUNCTION pii_vault.check_key_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
BEGIN
    IF NEW.id <> OLD.id OR NEW.commitment::bytea <> OLD.commitment::bytea OR NEW.created_at <> OLD.created_at THEN
        RAISE 'a key stays the key that it is' USING ERRCODE = 'check_violation', CONSTRAINT = 'key_stays';
    END IF;
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (
        ('pending', 'active'), ('active', 'pending'), ('pending', 'decrypt-only'), ('active', 'decrypt-only'),
        ('decrypt-only', 'retired')
    ) THEN
        RAISE 'a key does not go from % to %', OLD.state, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'key_state_follows';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION pii_vault.check_key_change IS
    'pending and active change places at a cut-over and when it is rolled back; nothing comes back from decrypt-only';
REVOKE EXECUTE ON FUNCTION pii_vault.check_key_change FROM PUBLIC;

CREATE TRIGGER key_changes BEFORE UPDATE ON pii_vault.data_keys
    FOR EACH ROW EXECUTE FUNCTION pii_vault.check_key_change();
CREATE TRIGGER key_changes BEFORE UPDATE ON pii_vault.dead_letter_keys
    FOR EACH ROW EXECUTE FUNCTION pii_vault.check_key_change();
CREATE TRIGGER key_changes BEFORE UPDATE ON pii_vault.token_keys
    FOR EACH ROW EXECUTE FUNCTION pii_vault.check_key_change();

-- Judged when a statement ends: a cut-over changes two keys' places in one.
DROP INDEX pii_vault.token_keys_one_active, pii_vault.token_keys_one_pending;
ALTER TABLE pii_vault.token_keys
    ADD CONSTRAINT token_keys_one_active EXCLUDE USING btree (state WITH =) WHERE (state = 'active') DEFERRABLE,
    ADD CONSTRAINT token_keys_one_pending EXCLUDE USING btree (state WITH =) WHERE (state = 'pending') DEFERRABLE;

-- When KMS last wrapped a key: what tells those under an older material of the same KMS key.
ALTER TABLE pii_vault.data_keys ADD COLUMN wrapped_at timestamptz;
ALTER TABLE pii_vault.dead_letter_keys ADD COLUMN wrapped_at timestamptz;
ALTER TABLE pii_vault.token_keys ADD COLUMN wrapped_at timestamptz;
UPDATE pii_vault.data_keys SET wrapped_at = created_at;
UPDATE pii_vault.dead_letter_keys SET wrapped_at = created_at;
UPDATE pii_vault.token_keys SET wrapped_at = created_at;
ALTER TABLE pii_vault.data_keys
    ALTER COLUMN wrapped_at SET DEFAULT clock_timestamp(), ALTER COLUMN wrapped_at SET NOT NULL;
ALTER TABLE pii_vault.dead_letter_keys
    ALTER COLUMN wrapped_at SET DEFAULT clock_timestamp(), ALTER COLUMN wrapped_at SET NOT NULL;
ALTER TABLE pii_vault.token_keys
    ALTER COLUMN wrapped_at SET DEFAULT clock_timestamp(), ALTER COLUMN wrapped_at SET NOT NULL;
COMMENT ON COLUMN pii_vault.data_keys.wrapped_at IS 'When KMS wrapped it, first or anew';
COMMENT ON COLUMN pii_vault.dead_letter_keys.wrapped_at IS 'When KMS wrapped it, first or anew';
COMMENT ON COLUMN pii_vault.token_keys.wrapped_at IS 'When KMS wrapped it, first or anew';

-- Re-sealing stores rows under fresh keys, and holds them as ingestion does.
GRANT EXECUTE ON FUNCTION pii_vault.hold_keys TO pii_vault_reseal;
