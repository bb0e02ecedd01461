-- Redriving goes by the same rule as unmasking: its record is a row of the audit log, and nothing is handed out before
-- the job was armed in a committed transaction of its own.
ALTER TABLE pii_vault.redrive_jobs
    ADD COLUMN seq bigint UNIQUE,
    ADD COLUMN armed_by xid8;
-- Long stale by now; only so that each row is whole.
UPDATE pii_vault.redrive_jobs SET armed_by = recorded_by WHERE armed_at_lsn IS NOT NULL;
ALTER TABLE pii_vault.redrive_jobs
    ADD CONSTRAINT armed_is_whole CHECK (num_nulls(armed_at_lsn, armed_by) IN (0, 2));
COMMENT ON COLUMN pii_vault.redrive_jobs.seq IS 'Of the audit log; NULL in jobs from before it';
COMMENT ON COLUMN pii_vault.redrive_jobs.armed_by IS 'The transaction; rows are handed out once it is committed';

-- As before, and for who is a member still: a session keeps a role that its login has lost.
CREATE OR REPLACE FUNCTION pii_vault.own_redrive_job(job uuid) RETURNS pii_vault.redrive_jobs
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    found_job pii_vault.redrive_jobs;
BEGIN
    PERFORM pii_vault.require_member('pii_vault_redrive');
    -- An older snapshot would not show what others did since.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'redriving needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    SELECT j.* INTO found_job FROM pii_vault.redrive_jobs AS j WHERE j.id = own_redrive_job.job;
    IF found_job.actor IS DISTINCT FROM session_user::text
        OR found_job.recorded_by = pg_current_xact_id_if_assigned()
        OR pii_vault.is_committed(found_job.recorded_by) IS NOT TRUE
    THEN
        RAISE 'no committed redrive job of this login' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN found_job;
END
$$;

-- As before, and in the log. What finds nothing is not recorded.
CREATE OR REPLACE FUNCTION pii_vault.record_redrive(
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
    at timestamptz;
    seq bigint;
BEGIN
    PERFORM pii_vault.require_member('pii_vault_redrive');
    -- Before the lock, so that a long search holds up nobody.
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
    at := pii_vault.audit_lock();
    seq := pii_vault.audit_append(
        at, pii_vault.audit_origin(), 'redrive', new_job, 'allowed', NULL, record_redrive.note, NULL,
        json_build_object(
            'selector', CASE WHEN cardinality(record_redrive.reasons) + cardinality(record_redrive.ids) <= 1000
                THEN json_build_object(
                    'reasons', record_redrive.reasons, 'ids', record_redrive.ids,
                    'older_than', extract(epoch FROM record_redrive.older_than)::bigint,
                    'newer_than', extract(epoch FROM record_redrive.newer_than)::bigint
                ) END,
            'rows', cardinality(dates), 'list_sha256', encode(pii_vault.list_hash(dates, messages), 'hex')
        )
    );
    INSERT INTO pii_vault.redrive_jobs (id, seq, recorded_at, note, reasons, older_than, newer_than, ids, row_count)
    VALUES (
        new_job, seq, at, record_redrive.note, record_redrive.reasons, record_redrive.older_than,
        record_redrive.newer_than, record_redrive.ids, cardinality(dates)
    );
    INSERT INTO pii_vault.redrive_rows (job, ordinal, create_date, message_id)
    SELECT new_job, s.ordinal, s.create_date, s.message_id
    FROM unnest(dates, messages) WITH ORDINALITY AS s (create_date, message_id, ordinal);
    RETURN new_job;
END
$$;

-- It returns one thing more.
DROP FUNCTION pii_vault.arm_redrive;
CREATE FUNCTION pii_vault.arm_redrive(job uuid) RETURNS TABLE (row_count integer, seq bigint)
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own constant pii_vault.redrive_jobs := pii_vault.own_redrive_job(arm_redrive.job);
BEGIN
    UPDATE pii_vault.redrive_jobs AS j SET armed_at_lsn = pg_current_wal_insert_lsn(), armed_by = pg_current_xact_id()
    WHERE j.id = own.id AND j.armed_by IS NULL;
    RETURN QUERY SELECT own.row_count, own.seq;
END
$$;
COMMENT ON FUNCTION pii_vault.arm_redrive IS
    'The second: arms a committed job, and returns its number of rows and its row of the audit log';
REVOKE EXECUTE ON FUNCTION pii_vault.arm_redrive FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pii_vault.arm_redrive TO pii_vault_redrive;

-- As fetch_refusal has it of a receipt, but for policy: a service needs none to go on, yet where one asks for
-- checkpoints, they cover this record too.
CREATE FUNCTION pii_vault.redrive_refusal(own pii_vault.redrive_jobs) RETURNS pii_vault.access_refusal
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
BEGIN
    IF own.seq IS NULL OR (own.recorded_at > clock_timestamp() - interval '10 minutes') IS NOT TRUE THEN
        RETURN 'stale';
    END IF;
    IF own.armed_by IS NULL OR own.armed_by IS NOT DISTINCT FROM pg_current_xact_id_if_assigned()
        OR pii_vault.is_committed(own.armed_by) IS NOT TRUE
    THEN
        RETURN 'not_armed';
    END IF;
    -- A session could commit the record with synchronous_commit off, read, and lose the record to a crash.
    IF (own.armed_at_lsn <= pg_current_wal_flush_lsn()) IS NOT TRUE THEN
        RETURN 'not_durable';
    END IF;
    IF (SELECT p.checkpoints FROM pii_vault.access_policy AS p ORDER BY p.seq DESC LIMIT 1) = 'required'
        AND NOT EXISTS (SELECT FROM pii_vault.checkpoints AS c WHERE c.seq >= own.seq)
    THEN
        RETURN 'no_checkpoint';
    END IF;
    RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION pii_vault.redrive_refusal FROM PUBLIC;

-- The next rows of the list and no others: 500 at most, and no more once they reach 8 MiB.
CREATE OR REPLACE FUNCTION pii_vault.fetch_redrive(job uuid, after_ordinal integer)
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
    refusal constant pii_vault.access_refusal := pii_vault.redrive_refusal(own);
BEGIN
    IF refusal IS NOT NULL THEN
        -- The word goes where a client can read it without reading the sentence.
        RAISE 'nothing is handed out for this job: %', refusal
            USING ERRCODE = 'insufficient_privilege', CONSTRAINT = refusal::text;
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
