-- A redriven letter is stored the way that ingestion stores: with the same rights, and to read no event back either.
-- What it opens comes to it through fetch_redrive alone.
GRANT SELECT ON pii_vault.vault, pii_vault.token_keys TO pii_vault_redrive;
GRANT INSERT (id, wrapped_key, kms_key, commitment, max_step) ON pii_vault.data_keys TO pii_vault_redrive;
GRANT INSERT ON pii_vault.login_events TO pii_vault_redrive;
GRANT EXECUTE ON FUNCTION pii_vault.hold_keys, pii_vault.ensure_month TO pii_vault_redrive;
