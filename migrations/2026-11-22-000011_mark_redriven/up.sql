ALTER TABLE pii_vault.dead_letters
    ADD COLUMN redriven_at timestamptz,
    ADD COLUMN redrive_job uuid,
    ADD CONSTRAINT redriven_is_whole CHECK (num_nulls(redriven_at, redrive_job) IN (0, 2));
COMMENT ON COLUMN pii_vault.dead_letters.redriven_at IS
    'When it was stored as an event after all, under its own create_date and message id';
COMMENT ON COLUMN pii_vault.dead_letters.redrive_job IS 'The redrive job that did so';

GRANT SELECT (redriven_at, redrive_job) ON pii_vault.dead_letters TO pii_vault_redrive;

-- What a selector means, once: for the list that a job records, and for the count of a dry run. With the rights of
-- who calls it. STABLE, so that it is inlined and its order comes from the primary key.
CREATE FUNCTION pii_vault.select_redrive(
    reasons pii_vault.dead_letter_reason[], older_than interval, newer_than interval, ids uuid[]
)
RETURNS TABLE (create_date date, message_id uuid, reason pii_vault.dead_letter_reason)
LANGUAGE sql STABLE
AS $$
    SELECT l.create_date, l.message_id, l.reason
    FROM pii_vault.dead_letters AS l
    WHERE l.redriven_at IS NULL
        AND (reasons = '{}' OR l.reason = ANY (reasons))
        AND (ids = '{}' OR l.message_id = ANY (ids))
        AND (older_than IS NULL OR l.received_at <= statement_timestamp() - older_than)
        AND (newer_than IS NULL OR l.received_at > statement_timestamp() - newer_than)
$$;
COMMENT ON FUNCTION pii_vault.select_redrive IS
    'Dead letters that are still to be redriven; empty arrays and NULL select all, ages count from received_at';

REVOKE EXECUTE ON FUNCTION pii_vault.select_redrive FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pii_vault.select_redrive TO pii_vault_redrive;
