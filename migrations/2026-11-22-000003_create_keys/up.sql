CREATE TYPE pii_vault.key_state AS ENUM ('pending', 'active', 'decrypt-only', 'retired');
COMMENT ON TYPE pii_vault.key_state IS
    'pending: used beside the active key, not shown yet; active: in use; '
    'decrypt-only: opens or verifies what is stored, protects nothing new; retired: used for nothing, no row refers to it';

-- What all wrapped keys have. The key itself is known to KMS alone; what it wraps is 32 bytes.
CREATE DOMAIN pii_vault.wrapped_key AS bytea CHECK (octet_length(VALUE) BETWEEN 33 AND 6144);
COMMENT ON DOMAIN pii_vault.wrapped_key IS 'A KMS ciphertext blob; encryption context {app, vault, purpose, key-id}';
CREATE DOMAIN pii_vault.commitment AS bytea CHECK (octet_length(VALUE) = 32);
COMMENT ON DOMAIN pii_vault.commitment IS 'HKDF-SHA256(key, "pii-vault/v1/commit")';

CREATE TABLE pii_vault.data_keys (
    id uuid PRIMARY KEY,
    state pii_vault.key_state NOT NULL DEFAULT 'active' CHECK (state <> 'pending'),
    wrapped_key pii_vault.wrapped_key NOT NULL,
    kms_key text NOT NULL CHECK (kms_key <> ''),
    commitment pii_vault.commitment NOT NULL,
    max_step integer NOT NULL CHECK (max_step BETWEEN 0 AND 10080),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE pii_vault.data_keys IS 'Wrapped keys that seal values of login_events: one for each ingestion process and day';
COMMENT ON COLUMN pii_vault.data_keys.max_step IS 'The last ratchet step (minute) in which the key may have sealed';
COMMENT ON COLUMN pii_vault.data_keys.kms_key IS 'ARN of the KMS key that wraps it';

CREATE TABLE pii_vault.dead_letter_keys (LIKE pii_vault.data_keys INCLUDING ALL);
COMMENT ON TABLE pii_vault.dead_letter_keys IS 'Wrapped keys that seal the bodies of dead_letters';

CREATE TABLE pii_vault.token_keys (
    id uuid PRIMARY KEY,
    slot pii_vault.token_slot NOT NULL,
    state pii_vault.key_state NOT NULL,
    wrapped_key pii_vault.wrapped_key NOT NULL,
    kms_key text NOT NULL CHECK (kms_key <> ''),
    commitment pii_vault.commitment NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE pii_vault.token_keys IS 'Wrapped keys of the tokens; a pending or active one fills its slot of every new event';
CREATE UNIQUE INDEX token_keys_one_active ON pii_vault.token_keys (state) WHERE state = 'active';
CREATE UNIQUE INDEX token_keys_one_pending ON pii_vault.token_keys (state) WHERE state = 'pending';
CREATE UNIQUE INDEX token_keys_one_in_a_slot ON pii_vault.token_keys (slot) WHERE state IN ('pending', 'active');

GRANT SELECT ON pii_vault.token_keys TO pii_vault_ingest;
-- Columns, not tables: what ingestion inserts is active, and the database says when.
GRANT INSERT (id, wrapped_key, kms_key, commitment, max_step) ON pii_vault.data_keys TO pii_vault_ingest;
GRANT INSERT (id, wrapped_key, kms_key, commitment, max_step) ON pii_vault.dead_letter_keys TO pii_vault_ingest;
