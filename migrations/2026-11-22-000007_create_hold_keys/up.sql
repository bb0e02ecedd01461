CREATE TYPE pii_vault.key_hold AS ENUM ('held', 'token_keys_changed', 'sealing_key_not_active');
COMMENT ON TYPE pii_vault.key_hold IS
    'held: the keys stay in use until the transaction ends; '
    'token_keys_changed: the batch lacks a pending or active token key, or has one that is neither; '
    'sealing_key_not_active: a data key or dead-letter key of the batch is unknown or out of use';

-- Every batch begins with it. FOR SHARE against the FOR UPDATE of a retirement: a key is not retired under a batch
-- that uses it, and a batch does not begin with a key that is. Foreign keys did not stop that race.
CREATE FUNCTION pii_vault.hold_keys(data_keys uuid[], dead_letter_keys uuid[], token_keys uuid[])
RETURNS pii_vault.key_hold
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    held uuid[];
BEGIN
    SELECT coalesce(array_agg(id), '{}') INTO held FROM (
        SELECT id FROM pii_vault.token_keys WHERE state IN ('pending', 'active') ORDER BY id FOR SHARE
    ) AS k;
    -- A batch without events has no tokens.
    IF hold_keys.token_keys <> '{}' AND NOT (held <@ hold_keys.token_keys AND hold_keys.token_keys <@ held) THEN
        RETURN 'token_keys_changed';
    END IF;

    SELECT coalesce(array_agg(id), '{}') INTO held FROM (
        SELECT id FROM pii_vault.data_keys WHERE id = ANY (hold_keys.data_keys) AND state = 'active' ORDER BY id FOR SHARE
    ) AS k;
    IF NOT hold_keys.data_keys <@ held THEN
        RETURN 'sealing_key_not_active';
    END IF;

    SELECT coalesce(array_agg(id), '{}') INTO held FROM (
        SELECT id FROM pii_vault.dead_letter_keys
        WHERE id = ANY (hold_keys.dead_letter_keys) AND state = 'active' ORDER BY id FOR SHARE
    ) AS k;
    IF NOT hold_keys.dead_letter_keys <@ held THEN
        RETURN 'sealing_key_not_active';
    END IF;

    RETURN 'held';
END
$$;
COMMENT ON FUNCTION pii_vault.hold_keys IS 'Takes the keys of a batch into use until its transaction ends';

REVOKE EXECUTE ON FUNCTION pii_vault.hold_keys FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pii_vault.hold_keys TO pii_vault_ingest;
