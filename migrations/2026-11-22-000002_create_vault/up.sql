CREATE TYPE pii_vault.token_slot AS ENUM ('a', 'b');
COMMENT ON TYPE pii_vault.token_slot IS
    'a: ip_token_a, device_id_token_a, token_key_a of login_events; b: the same with _b';

CREATE TABLE pii_vault.vault (
    id uuid PRIMARY KEY,
    active_slot pii_vault.token_slot NOT NULL DEFAULT 'a',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    only_one boolean NOT NULL DEFAULT true UNIQUE CHECK (only_one)
);
COMMENT ON TABLE pii_vault.vault IS 'One row: what this vault is. The id is bound into every seal and encryption context.';
COMMENT ON COLUMN pii_vault.vault.active_slot IS 'The token slot that the view user_logins shows; changes with the view';

GRANT USAGE ON SCHEMA pii_vault TO pii_vault_ingest, pii_vault_redrive;
GRANT SELECT ON pii_vault.vault TO pii_vault_ingest;
