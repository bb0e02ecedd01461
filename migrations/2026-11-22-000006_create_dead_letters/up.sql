CREATE TYPE pii_vault.dead_letter_reason AS ENUM (
    'invalid_json', 'not_an_object', 'duplicate_key', 'too_deep', 'missing_field', 'null_field', 'wrong_type',
    'lone_surrogate', 'nul_character', 'too_long', 'empty', 'invalid_ip'
);
COMMENT ON TYPE pii_vault.dead_letter_reason IS
    'invalid_json: no JSON; not_an_object: JSON, but no object; duplicate_key: a key stands twice; '
    'too_deep: nested beyond 64 levels; missing_field, null_field, wrong_type: of a member; '
    'lone_surrogate: a string that is no Unicode; nul_character: a string with U+0000; too_long: longer than its column; '
    'empty: empty where that means nothing; invalid_ip: no IPv4 or IPv6 address';

CREATE TYPE pii_vault.login_member AS ENUM ('user_id', 'app_version', 'device_type', 'ip', 'locale', 'device_id');
COMMENT ON TYPE pii_vault.login_member IS 'A member of the JSON object of a login event';

CREATE TABLE pii_vault.dead_letters (
    create_date date NOT NULL CHECK (isfinite(create_date)),
    message_id uuid NOT NULL,
    reason pii_vault.dead_letter_reason NOT NULL,
    member pii_vault.login_member,
    size integer NOT NULL CHECK (size >= 0),
    body_ciphertext bytea NOT NULL,
    dead_letter_key_id uuid NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (create_date, message_id),
    -- 33 bytes are version, step, nonce and tag. A body is not padded: its size is a column anyway.
    CONSTRAINT body_has_its_size CHECK (octet_length(body_ciphertext) = size + 33)
);
COMMENT ON TABLE pii_vault.dead_letters IS 'Messages that cannot be stored as an event, sealed as they came';
COMMENT ON COLUMN pii_vault.dead_letters.member IS 'The member to blame, where it is one';
COMMENT ON COLUMN pii_vault.dead_letters.size IS 'Bytes of the body';

GRANT INSERT (create_date, message_id, reason, member, size, body_ciphertext, dead_letter_key_id)
    ON pii_vault.dead_letters TO pii_vault_ingest;
-- Metadata only: what a list may show.
GRANT SELECT (create_date, message_id, reason, member, size, received_at)
    ON pii_vault.dead_letters TO pii_vault_redrive;
