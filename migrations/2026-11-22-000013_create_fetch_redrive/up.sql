-- The job, if this login recorded it in a transaction that is committed and is not this one. Every function below
-- begins with it; nobody else may call it.
CREATE FUNCTION pii_vault.own_redrive_job(job uuid) RETURNS pii_vault.redrive_jobs
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    found_job pii_vault.redrive_jobs;
BEGIN
    -- An older snapshot would not show what others did since.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'redriving needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    SELECT j.* INTO found_job FROM pii_vault.redrive_jobs AS j WHERE j.id = own_redrive_job.job;
    IF found_job.actor IS DISTINCT FROM session_user::text
        OR found_job.recorded_by = pg_current_xact_id_if_assigned()
        OR pg_xact_status(found_job.recorded_by) IS DISTINCT FROM 'committed'
    THEN
        RAISE 'no committed redrive job of this login' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN found_job;
END
$$;
REVOKE EXECUTE ON FUNCTION pii_vault.own_redrive_job FROM PUBLIC;

-- Notes where the write-ahead log stands once the record is committed: fetch_redrive waits for the disk to get there.
-- A session could commit the record with synchronous_commit off, read, and lose the record to a crash.
CREATE FUNCTION pii_vault.arm_redrive(job uuid) RETURNS integer
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own constant pii_vault.redrive_jobs := pii_vault.own_redrive_job(arm_redrive.job);
BEGIN
    UPDATE pii_vault.redrive_jobs AS j SET armed_at_lsn = pg_current_wal_insert_lsn()
    WHERE j.id = own.id AND j.armed_at_lsn IS NULL;
    RETURN own.row_count;
END
$$;
COMMENT ON FUNCTION pii_vault.arm_redrive IS 'The second: arms a committed job and returns its number of rows';

-- The next rows of the list and no others: 500 at most, and no more once they reach 8 MiB.
CREATE FUNCTION pii_vault.fetch_redrive(job uuid, after_ordinal integer)
RETURNS TABLE (
    ordinal integer, create_date date, message_id uuid, body_ciphertext bytea, dead_letter_key_id uuid,
    wrapped_key bytea, kms_key text, commitment bytea, max_step integer
)
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    own constant pii_vault.redrive_jobs := pii_vault.own_redrive_job(fetch_redrive.job);
BEGIN
    IF own.recorded_at < clock_timestamp() - interval '10 minutes' THEN
        RAISE 'the redrive job is older than 10 minutes; record another' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF (own.armed_at_lsn <= pg_current_wal_flush_lsn()) IS NOT TRUE THEN
        RAISE 'the record of the redrive job is not known to be on disk; arm it, commit, and try again'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN QUERY
    SELECT s.ordinal, s.create_date, s.message_id, s.body_ciphertext, s.dead_letter_key_id,
        k.wrapped_key::bytea, k.kms_key, k.commitment::bytea, k.max_step
    FROM (
        SELECT r.ordinal, l.create_date, l.message_id, l.body_ciphertext, l.dead_letter_key_id,
            sum(l.size) OVER (ORDER BY r.ordinal) - l.size AS before
        FROM pii_vault.redrive_rows AS r
        JOIN pii_vault.dead_letters AS l ON l.create_date = r.create_date AND l.message_id = r.message_id
        WHERE r.job = own.id AND r.ordinal > fetch_redrive.after_ordinal AND l.redriven_at IS NULL
        ORDER BY r.ordinal
        LIMIT 500
    ) AS s
    LEFT JOIN pii_vault.dead_letter_keys AS k ON k.id = s.dead_letter_key_id AND k.state <> 'retired'
    WHERE s.before < 8 * 1024 * 1024
    ORDER BY s.ordinal;
END
$$;
COMMENT ON FUNCTION pii_vault.fetch_redrive IS
    'The third: sealed bodies of an armed job beyond an ordinal, with their wrapped keys; what was redriven since is left out';

-- In the transaction that stores the events.
CREATE FUNCTION pii_vault.settle_redrive(
    job uuid, ordinals integer[], outcomes pii_vault.redrive_outcome[],
    reasons pii_vault.dead_letter_reason[], members pii_vault.login_member[]
)
RETURNS void
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own constant pii_vault.redrive_jobs := pii_vault.own_redrive_job(settle_redrive.job);
BEGIN
    -- Two jobs with the same letters must take them in the same order.
    PERFORM FROM pii_vault.dead_letters AS l
    JOIN pii_vault.redrive_rows AS r ON l.create_date = r.create_date AND l.message_id = r.message_id
    WHERE r.job = own.id AND r.ordinal = ANY (settle_redrive.ordinals)
    ORDER BY l.create_date, l.message_id
    FOR UPDATE OF l;

    -- What is marked as redriven is no longer listed, so it must have become an event.
    IF EXISTS (
        SELECT FROM unnest(settle_redrive.ordinals, settle_redrive.outcomes) AS s (ordinal, outcome)
        JOIN pii_vault.redrive_rows AS r ON r.job = own.id AND r.ordinal = s.ordinal
        WHERE s.outcome = 'stored' AND NOT EXISTS (
            SELECT FROM pii_vault.login_events AS e
            WHERE e.create_date = r.create_date AND e.event_id = r.message_id
        )
    ) THEN
        RAISE 'a dead letter without an event cannot be redriven' USING ERRCODE = 'foreign_key_violation';
    END IF;

    UPDATE pii_vault.dead_letters AS l SET redriven_at = clock_timestamp(), redrive_job = own.id
    FROM unnest(settle_redrive.ordinals, settle_redrive.outcomes) AS s (ordinal, outcome)
    JOIN pii_vault.redrive_rows AS r ON r.job = own.id AND r.ordinal = s.ordinal
    WHERE l.create_date = r.create_date AND l.message_id = r.message_id
        AND s.outcome = 'stored' AND l.redriven_at IS NULL;

    UPDATE pii_vault.dead_letters AS l SET reason = s.reason, member = s.member
    FROM unnest(settle_redrive.ordinals, settle_redrive.outcomes, settle_redrive.reasons, settle_redrive.members)
        AS s (ordinal, outcome, reason, member)
    JOIN pii_vault.redrive_rows AS r ON r.job = own.id AND r.ordinal = s.ordinal
    WHERE l.create_date = r.create_date AND l.message_id = r.message_id
        AND s.outcome = 'refused' AND l.redriven_at IS NULL
        AND (l.reason, l.member) IS DISTINCT FROM (s.reason, s.member);

    UPDATE pii_vault.redrive_rows AS r SET outcome = s.outcome, settled_at = clock_timestamp()
    FROM unnest(settle_redrive.ordinals, settle_redrive.outcomes) AS s (ordinal, outcome)
    WHERE r.job = own.id AND r.ordinal = s.ordinal AND r.outcome IS NULL;
END
$$;
COMMENT ON FUNCTION pii_vault.settle_redrive IS
    'The fourth, in one transaction with its events: what became of rows of the job, once for each';

REVOKE EXECUTE ON FUNCTION pii_vault.arm_redrive, pii_vault.fetch_redrive, pii_vault.settle_redrive FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pii_vault.arm_redrive, pii_vault.fetch_redrive, pii_vault.settle_redrive TO pii_vault_redrive;
