-- Who reads which dead letters, written and committed before they are handed out. The audit log takes this over.
CREATE TABLE pii_vault.redrive_jobs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    recorded_by xid8 NOT NULL DEFAULT pg_current_xact_id(),
    armed_at_lsn pg_lsn,
    actor text NOT NULL DEFAULT session_user,
    note text NOT NULL CHECK (char_length(note) BETWEEN 1 AND 1000 AND btrim(note) <> ''),
    reasons pii_vault.dead_letter_reason[] NOT NULL,
    older_than interval,
    newer_than interval,
    ids uuid[] NOT NULL,
    row_count integer NOT NULL CHECK (row_count > 0)
);
COMMENT ON TABLE pii_vault.redrive_jobs IS 'A record for each list of dead letters that was to be read and redriven';
COMMENT ON COLUMN pii_vault.redrive_jobs.recorded_by IS 'The transaction; rows are handed out once it is committed';
COMMENT ON COLUMN pii_vault.redrive_jobs.armed_at_lsn IS
    'A position in the write-ahead log after the record; rows are handed out once it is on disk';
COMMENT ON COLUMN pii_vault.redrive_jobs.actor IS 'The login (session_user), whatever role it had taken on';
COMMENT ON COLUMN pii_vault.redrive_jobs.note IS 'Why, in the words of who did it';
COMMENT ON COLUMN pii_vault.redrive_jobs.reasons IS 'The selector, with older_than, newer_than and ids; empty selects all';

CREATE TYPE pii_vault.redrive_outcome AS ENUM ('stored', 'refused', 'did_not_open');
COMMENT ON TYPE pii_vault.redrive_outcome IS
    'stored: opened, and its event is there; refused: opened, and still no event; did_not_open: altered, or its key is';

CREATE TABLE pii_vault.redrive_rows (
    job uuid NOT NULL REFERENCES pii_vault.redrive_jobs,
    ordinal integer NOT NULL CHECK (ordinal > 0),
    create_date date NOT NULL,
    message_id uuid NOT NULL,
    outcome pii_vault.redrive_outcome,
    settled_at timestamptz,
    PRIMARY KEY (job, ordinal),
    CONSTRAINT outcome_is_whole CHECK (num_nulls(outcome, settled_at) IN (0, 2))
);
COMMENT ON TABLE pii_vault.redrive_rows IS 'The exact list of a job. Outlives the dead letters that it names';
COMMENT ON COLUMN pii_vault.redrive_rows.outcome IS
    'NULL: not tried (interrupted, or redriven or deleted by another first), or its outcome was never committed';

-- A record that nobody can read proves nothing.
GRANT USAGE ON SCHEMA pii_vault TO pii_vault_auditor;
GRANT SELECT ON pii_vault.redrive_jobs, pii_vault.redrive_rows TO pii_vault_auditor;

-- Records a job of up to `most` dead letters beyond a position, in the order of their primary key. NULL: there is none.
CREATE FUNCTION pii_vault.record_redrive(
    note text, reasons pii_vault.dead_letter_reason[], older_than interval, newer_than interval, ids uuid[],
    after_date date, after_id uuid, most integer
)
RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    new_job constant uuid := gen_random_uuid();
    dates date[];
    messages uuid[];
BEGIN
    SELECT array_agg(s.create_date), array_agg(s.message_id) INTO dates, messages FROM (
        SELECT l.create_date, l.message_id
        FROM pii_vault.select_redrive(
            record_redrive.reasons, record_redrive.older_than, record_redrive.newer_than, record_redrive.ids
        ) AS l
        WHERE (l.create_date, l.message_id)
            > (coalesce(after_date, '-infinity'), coalesce(after_id, '00000000-0000-0000-0000-000000000000'))
        ORDER BY l.create_date, l.message_id
        LIMIT least(most, 5000)
    ) AS s;
    IF dates IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO pii_vault.redrive_jobs (id, note, reasons, older_than, newer_than, ids, row_count)
    VALUES (
        new_job, record_redrive.note, record_redrive.reasons, record_redrive.older_than, record_redrive.newer_than,
        record_redrive.ids, cardinality(dates)
    );
    INSERT INTO pii_vault.redrive_rows (job, ordinal, create_date, message_id)
    SELECT new_job, s.ordinal, s.create_date, s.message_id
    FROM unnest(dates, messages) WITH ORDINALITY AS s (create_date, message_id, ordinal);
    RETURN new_job;
END
$$;
COMMENT ON FUNCTION pii_vault.record_redrive IS
    'The first of record, arm, fetch, settle: records who will read which dead letters. Commit before you go on';

REVOKE EXECUTE ON FUNCTION pii_vault.record_redrive FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pii_vault.record_redrive TO pii_vault_redrive;
