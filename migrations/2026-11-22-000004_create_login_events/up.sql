CREATE DOMAIN pii_vault.token AS text CHECK (octet_length(VALUE) = 43);
COMMENT ON DOMAIN pii_vault.token IS 'base64url, no padding, of HMAC-SHA256(field key, canonical value)';

CREATE TABLE pii_vault.login_events (
    create_date date NOT NULL CHECK (isfinite(create_date)),
    event_id uuid NOT NULL,
    user_id varchar(128) NOT NULL CHECK (user_id <> ''),
    device_type varchar(32) NOT NULL,
    locale varchar(32),
    app_version varchar(32) NOT NULL,
    ip_ciphertext bytea NOT NULL CHECK (octet_length(ip_ciphertext) = 81),
    device_id_ciphertext bytea NOT NULL
        CHECK (octet_length(device_id_ciphertext) BETWEEN 65 AND 321 AND octet_length(device_id_ciphertext) % 32 = 1),
    data_key_id uuid NOT NULL,
    ip_token_a pii_vault.token,
    device_id_token_a pii_vault.token,
    token_key_a uuid,
    ip_token_b pii_vault.token,
    device_id_token_b pii_vault.token,
    token_key_b uuid,
    ingested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (create_date, event_id),
    CONSTRAINT slot_a_is_whole CHECK (num_nulls(ip_token_a, device_id_token_a, token_key_a) IN (0, 3)),
    CONSTRAINT slot_b_is_whole CHECK (num_nulls(ip_token_b, device_id_token_b, token_key_b) IN (0, 3)),
    CONSTRAINT a_slot_is_filled CHECK (num_nonnulls(token_key_a, token_key_b) > 0)
) PARTITION BY RANGE (create_date);

COMMENT ON TABLE pii_vault.login_events IS
    'One row for each login message. By month, so that indexes stay in cache and retention drops partitions';
COMMENT ON COLUMN pii_vault.login_events.create_date IS 'UTC day of the SQS SentTimestamp: the same for a redelivery';
COMMENT ON COLUMN pii_vault.login_events.event_id IS
    'The SQS message id, or a UUIDv5 of it in the namespace of the vault id where it is no UUID';
COMMENT ON COLUMN pii_vault.login_events.ip_ciphertext IS
    'version u8, step u32 BE, nonce 12, AES-256-GCM-SIV of the padded text (keys/FORMAT.md)';
COMMENT ON COLUMN pii_vault.login_events.ip_token_a IS 'Token of the ip under token_key_a';

-- Catches what no monthly partition takes, so that no date can fail. Rows in it are a finding, not a loss.
CREATE TABLE pii_vault.login_events_default PARTITION OF pii_vault.login_events DEFAULT WITH (fillfactor = 70);

-- None on data_key_id or a ciphertext: re-sealing rewrites those, and stays a HOT update as long as no index sees it.
CREATE INDEX login_events_user_id ON pii_vault.login_events (user_id);
CREATE INDEX login_events_ip_token_a ON pii_vault.login_events (ip_token_a);
CREATE INDEX login_events_device_id_token_a ON pii_vault.login_events (device_id_token_a);

GRANT INSERT ON pii_vault.login_events TO pii_vault_ingest;
