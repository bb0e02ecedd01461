-- Which role works on a job as it stands.
CREATE FUNCTION pii_vault.rotation_role(own pii_vault.rotation_jobs) RETURNS name
LANGUAGE sql IMMUTABLE
SET search_path = pii_vault, pg_temp
AS $$
    SELECT CASE WHEN own.step = 'emptying' THEN 'pii_vault_owner' WHEN own.kind = 'kek' THEN 'pii_vault_rewrap'
        ELSE 'pii_vault_reseal' END::name
$$;

-- Of the keys that a job leaves, in their order. A list may be long, and the log is to hold it to account.
CREATE FUNCTION pii_vault.key_list_hash(keys uuid[]) RETURNS bytea
LANGUAGE sql IMMUTABLE
SET search_path = pii_vault, pg_temp
AS $$
    SELECT sha256(convert_to('pii-vault/v1/keys', 'UTF8') || coalesce(string_agg(uuid_send(k.id), '' ORDER BY k.ordinal), ''))
    FROM unnest(key_list_hash.keys) WITH ORDINALITY AS k (id, ordinal)
$$;

-- Records a job, under the lock on the log. Called by the functions of each kind, which have locked what comes before
-- the log: keys, then rows, then jobs.
CREATE FUNCTION pii_vault.begin_rotation(new_job pii_vault.rotation_jobs, details jsonb) RETURNS uuid
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    job constant uuid := gen_random_uuid();
    at constant timestamptz := pii_vault.audit_lock();
    seq bigint;
BEGIN
    seq := pii_vault.audit_append(
        at, pii_vault.audit_origin(), 'key_rotation', job, NULL, NULL, new_job.reason, NULL,
        (begin_rotation.details || jsonb_build_object(
            'kind', new_job.kind, 'purpose', new_job.purpose, 'step', 'start', 'total', new_job.total,
            'keys', coalesce(cardinality(new_job.old_keys), 0),
            'old_keys', CASE WHEN cardinality(new_job.old_keys) <= 1000 THEN to_jsonb(new_job.old_keys) END,
            'old_keys_sha256', encode(pii_vault.key_list_hash(coalesce(new_job.old_keys, '{}')), 'hex'),
            'new_key', new_job.new_key, 'old_slot', new_job.old_slot, 'target_kms_key', new_job.target_kms_key,
            'wrapped_before', (extract(epoch FROM new_job.wrapped_before) * 1000000)::bigint
        ))::json
    );
    INSERT INTO pii_vault.rotation_jobs
        (id, kind, purpose, seq, recorded_at, reason, old_keys, new_key, old_slot, target_kms_key, wrapped_before, total)
    VALUES (
        job, new_job.kind, new_job.purpose, seq, at, new_job.reason, coalesce(new_job.old_keys, '{}'), new_job.new_key,
        new_job.old_slot, new_job.target_kms_key, new_job.wrapped_before, new_job.total
    );
    INSERT INTO pii_vault.rotation_scans (job) VALUES (job);
    RETURN job;
END
$$;

-- What became of a job, for the log.
CREATE FUNCTION pii_vault.note_rotation(own pii_vault.rotation_jobs, step text, reason text, details jsonb) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
BEGIN
    RETURN pii_vault.audit_append(
        pii_vault.audit_lock(), pii_vault.audit_origin(), 'key_rotation', own.id, NULL, NULL, note_rotation.reason, NULL,
        (jsonb_build_object(
            'kind', own.kind, 'purpose', own.purpose, 'step', note_rotation.step, 'changed', own.changed,
            'failed', own.failed
        ) || note_rotation.details)::json
    );
END
$$;

-- The job, for who may work on it; `locked`: its row, until the transaction ends. A job that was recorded by this very
-- transaction could still be undone.
CREATE FUNCTION pii_vault.own_rotation(job uuid, locked boolean) RETURNS pii_vault.rotation_jobs
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    own pii_vault.rotation_jobs;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'this needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    IF own_rotation.locked THEN
        BEGIN
            PERFORM FROM pii_vault.rotation_jobs AS j WHERE j.id = own_rotation.job FOR UPDATE;
        EXCEPTION WHEN lock_not_available THEN
            -- Such as who looks whether anything is left. A runner tries again.
            RAISE 'another session holds this rotation' USING ERRCODE = 'serialization_failure';
        END;
    END IF;
    SELECT j.* INTO own FROM pii_vault.rotation_jobs AS j WHERE j.id = own_rotation.job;
    IF own.id IS NULL OR own.recorded_by = pg_current_xact_id_if_assigned() THEN
        RAISE 'no committed rotation of this id' USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'unknown_rotation';
    END IF;
    IF own.kind = 'token-key' AND own.step IN ('emptying', 'done')
        AND pii_vault.is_member(pii_vault.rotation_role(own)) IS NOT TRUE AND pii_vault.is_member('pii_vault_reseal')
    THEN
        -- Who filled rows is told why there are no more: it has no role in what follows.
        RAISE 'this rotation was finished or rolled back'
            USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'rotation_over';
    END IF;
    PERFORM pii_vault.require_member(pii_vault.rotation_role(own));
    RETURN own;
END
$$;

-- Why nothing is handed out for a job at this moment; NULL where it is. As redrive_refusal, but for age: a rotation may
-- take days.
CREATE FUNCTION pii_vault.rotation_refusal(own pii_vault.rotation_jobs) RETURNS pii_vault.access_refusal
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
BEGIN
    IF own.armed_by IS NULL OR own.armed_by IS NOT DISTINCT FROM pg_current_xact_id_if_assigned() THEN
        RETURN 'not_armed';
    END IF;
    -- In a dump that was restored elsewhere the position means nothing: armed again, it does.
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

-- Every function that hands out or changes rows of a job begins with it. It does not lock the job: that comes after the
-- rows, and its transaction is not to make others wait.
CREATE FUNCTION pii_vault.working_rotation(job uuid, kind pii_vault.rotation_kind) RETURNS pii_vault.rotation_jobs
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own constant pii_vault.rotation_jobs := pii_vault.own_rotation(working_rotation.job, false);
    refusal constant pii_vault.access_refusal := pii_vault.rotation_refusal(own);
BEGIN
    IF own.kind <> working_rotation.kind THEN
        RAISE 'the rotation is of another kind' USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'unknown_rotation';
    END IF;
    IF refusal IS NOT NULL THEN
        RAISE 'nothing is handed out for this rotation: %', refusal
            USING ERRCODE = 'insufficient_privilege', CONSTRAINT = refusal::text;
    END IF;
    RETURN own;
END
$$;

-- The second, and each runner's first: what was paused goes on.
CREATE FUNCTION pii_vault.arm_rotation(job uuid, runner uuid) RETURNS void
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own constant pii_vault.rotation_jobs := pii_vault.own_rotation(arm_rotation.job, true);
BEGIN
    IF own.ended_at IS NOT NULL THEN
        RETURN;
    END IF;
    UPDATE pii_vault.rotation_jobs AS j
    SET armed_at_lsn = pg_current_wal_insert_lsn(), armed_by = pg_current_xact_id(), paused = false
    WHERE j.id = own.id;
    INSERT INTO pii_vault.rotation_runners (job, runner) VALUES (own.id, arm_rotation.runner)
    ON CONFLICT ON CONSTRAINT rotation_runners_pkey DO UPDATE SET seen_at = clock_timestamp();
    IF own.paused THEN
        PERFORM pii_vault.note_rotation(own, 'resume', NULL, '{}');
    END IF;
END
$$;
COMMENT ON FUNCTION pii_vault.arm_rotation IS
    'The second, after the record is committed: makes a runner known, and the job go on. Commit before you claim';

-- What is left to do of a job, as a condition on the table of its rows or keys. All of it is the owner's own words.
CREATE FUNCTION pii_vault.rotation_source(own pii_vault.rotation_jobs, OUT relation text, OUT condition text)
LANGUAGE sql IMMUTABLE
SET search_path = pii_vault, pg_temp
AS $$
    SELECT CASE own.kind
            WHEN 'kek' THEN format(
                '(SELECT k.*, (k.created_at AT TIME ZONE ''UTC'')::date AS create_date, k.id AS event_id FROM pii_vault.%I AS k)',
                CASE own.purpose WHEN 'data' THEN 'data_keys' WHEN 'token' THEN 'token_keys' ELSE 'dead_letter_keys' END
            )
            ELSE 'pii_vault.login_events'
        END,
        CASE own.kind
            WHEN 'kek' THEN format(
                '(e.state <> ''retired'' AND (e.kms_key <> %L OR e.wrapped_at < %L::timestamptz IS TRUE)%s)',
                own.target_kms_key, own.wrapped_before,
                -- Where keys were chosen, those alone.
                CASE WHEN cardinality(own.old_keys) > 0 THEN format(' AND e.id = ANY (%L::uuid[])', own.old_keys) END
            )
            WHEN 'data-key' THEN format('e.data_key_id = ANY (%L::uuid[])', own.old_keys)
            -- Filled is the new key's slot. Emptied is the old one's, or the new one's where the rotation is rolled back,
            -- whatever is in it: what somebody wrote there by hand, too. But not the tokens of the next rotation, which a
            -- page that is late may find: they are of a key that is in use in this slot. <> ALL is true of NULL where there
            -- is no such key.
            ELSE CASE own.step
                WHEN 'emptying' THEN format(
                    '(e.%1$I IS NOT NULL AND e.%1$I <> ALL (ARRAY(
                        SELECT k.id FROM pii_vault.token_keys AS k WHERE k.slot = %2$L AND k.state IN (''pending'', ''active'')
                    )))',
                    CASE WHEN (own.old_slot = 'a') = own.rolled_back THEN 'token_key_b' ELSE 'token_key_a' END,
                    CASE WHEN (own.old_slot = 'a') = own.rolled_back THEN 'b' ELSE 'a' END
                )
                ELSE format('e.%I IS NULL', CASE own.old_slot WHEN 'a' THEN 'token_key_b' ELSE 'token_key_a' END)
            END
        END
$$;

-- Where a page ends that begins beyond a position: with the `most`-th that is left to do, or after some thousands, of
-- which none may be. It reads them by the primary key, and stops there. Left to itself the planner sorts the whole table
-- for each page: it takes the two conditions on the key for independent of each other.
CREATE FUNCTION pii_vault.rotation_page(
    relation text, condition text, after_day date, after_id uuid, most integer,
    OUT through_day date, OUT through_id uuid, OUT page_rows bigint
)
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET max_parallel_workers_per_gather = 0
SET jit = off
AS $$
BEGIN
    -- What was found wanting is not handed out again, but it does not hold a page up either.
    EXECUTE format(
        'WITH scanned AS (
             SELECT e.create_date, e.event_id, %s AS is_left FROM %s AS e
             WHERE e.create_date >= $1 AND (e.create_date, e.event_id) > ($1, $2)
             ORDER BY e.create_date, e.event_id LIMIT $3
         ), counted AS (
             SELECT s.create_date, s.event_id,
                 count(*) FILTER (WHERE s.is_left) OVER (ORDER BY s.create_date, s.event_id) AS found
             FROM scanned AS s
         )
         SELECT c.create_date, c.event_id, c.found FROM counted AS c WHERE c.found <= $4
         ORDER BY c.create_date DESC, c.event_id DESC LIMIT 1',
        condition, relation
    ) INTO through_day, through_id, page_rows
    USING after_day, after_id, greatest(most, 1) * 10 + 5000, greatest(most, 1);
END
$$;

-- Whether a pass has handed out all that there is, by the primary key as above.
CREATE FUNCTION pii_vault.pass_is_over(relation text, after_day date, after_id uuid) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET max_parallel_workers_per_gather = 0
SET jit = off
AS $$
DECLARE
    is_over boolean;
BEGIN
    EXECUTE format(
        'SELECT NOT EXISTS (SELECT FROM %s AS e WHERE e.create_date >= $1 AND (e.create_date, e.event_id) > ($1, $2))',
        relation
    ) INTO is_over USING after_day, after_id;
    RETURN is_over;
END
$$;

-- Whether anything is left to do of a job, by a scan of all there is, where a pass is over; NULL: it is not over, or it is
-- not time yet, or another session scans. It is called before the job is locked: others settle meanwhile. What is found done stays done.
CREATE FUNCTION pii_vault.rotation_is_left(own pii_vault.rotation_jobs) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
SET "DateStyle" = 'ISO, YMD'
AS $$
DECLARE
    source record;
    is_left boolean;
BEGIN
    SELECT s.relation, s.condition INTO source FROM pii_vault.rotation_source(own) AS s;
    IF NOT pii_vault.pass_is_over(
        source.relation, coalesce(own.cursor_day, '-infinity'), coalesce(own.cursor_id, '00000000-0000-0000-0000-000000000000')
    ) THEN
        RETURN NULL;
    END IF;
    -- While batches may go without the new key, rows may come that have no token of it. The scan is for a later
    -- transaction: batches wait for the one that ends this.
    IF own.step = 'work' AND EXISTS (SELECT FROM pii_vault.token_keys AS k WHERE k.id = own.new_key AND k.optional) THEN
        PERFORM pii_vault.require_token_key(own.id);
        RETURN NULL;
    END IF;
    -- One scan of a job at a time, whatever the number of workers.
    PERFORM FROM pii_vault.rotation_scans AS s WHERE s.job = own.id FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    EXECUTE format(
        'SELECT EXISTS (SELECT FROM %s AS e WHERE %s AND NOT EXISTS (
             SELECT FROM pii_vault.rotation_failures AS f
             WHERE $2 AND f.job = $1 AND f.day = e.create_date AND f.id = e.event_id AND f.why <> ''token_mismatch''))',
        source.relation, source.condition
    -- To empty a slot nothing needs to open.
    ) INTO is_left USING own.id, own.step = 'work';
    RETURN is_left;
END
$$;

-- Hands out the next `most` rows or keys, those beyond the first position up to the second: to this runner alone, in this
-- pass. Looks at some thousands at a time, so none may be among them. NULL positions: see step and paused; where it works
-- and is not paused, ask again.
CREATE FUNCTION pii_vault.claim_rotation(job uuid, runner uuid, most integer)
RETURNS TABLE (
    step pii_vault.rotation_step, paused boolean, after_day date, after_id uuid, through_day date, through_id uuid,
    page_rows bigint, total bigint, changed bigint, failed bigint
)
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
SET "DateStyle" = 'ISO, YMD'
AS $$
#variable_conflict use_column
DECLARE
    before constant pii_vault.rotation_jobs := pii_vault.own_rotation(claim_rotation.job, false);
    own pii_vault.rotation_jobs;
    refusal pii_vault.access_refusal;
    source record;
    is_left boolean;
BEGIN
    IF pii_vault.rotation_refusal(before) IS NULL AND NOT before.paused AND before.step IN ('work', 'emptying') THEN
        -- Keys are locked before jobs.
        is_left := pii_vault.rotation_is_left(before);
    END IF;
    own := pii_vault.own_rotation(claim_rotation.job, true);
    IF own.paused OR own.step NOT IN ('work', 'emptying') THEN
        RETURN QUERY SELECT own.step, own.paused, NULL::date, NULL::uuid, NULL::date, NULL::uuid, 0::bigint,
            own.total, own.changed, own.failed;
        RETURN;
    END IF;
    refusal := pii_vault.rotation_refusal(own);
    IF refusal IS NOT NULL THEN
        RAISE 'nothing is handed out for this rotation: %', refusal
            USING ERRCODE = 'insufficient_privilege', CONSTRAINT = refusal::text;
    END IF;
    IF own.step <> before.step OR own.pass <> before.pass THEN
        -- What was scanned was another pass.
        is_left := NULL;
    END IF;
    page_rows := 0;
    IF is_left IS FALSE THEN
        own.cursor_day := NULL;
        own.cursor_id := NULL;
        own.step := CASE WHEN own.kind = 'token-key' AND own.step = 'work' THEN 'filled' ELSE 'done' END;
    ELSE
        SELECT s.relation, s.condition INTO source FROM pii_vault.rotation_source(own) AS s;
        SELECT p.through_day, p.through_id, p.page_rows INTO through_day, through_id, page_rows
        FROM pii_vault.rotation_page(
            source.relation, source.condition, coalesce(own.cursor_day, '-infinity'),
            coalesce(own.cursor_id, '00000000-0000-0000-0000-000000000000'), claim_rotation.most
        ) AS p;
        page_rows := coalesce(page_rows, 0);
        IF through_day IS NOT NULL THEN
            -- Of the first page NULL: '-infinity' is no day to a client.
            after_day := own.cursor_day;
            after_id := own.cursor_id;
            own.cursor_day := through_day;
            own.cursor_id := through_id;
        ELSIF is_left THEN
            own.pass := own.pass + 1;
            own.cursor_day := NULL;
            own.cursor_id := NULL;
        END IF;
    END IF;
    UPDATE pii_vault.rotation_jobs AS j
    SET cursor_day = own.cursor_day, cursor_id = own.cursor_id, pass = own.pass, step = own.step,
        worked_at = clock_timestamp(), ended_at = CASE WHEN own.step = 'done' THEN clock_timestamp() END
    WHERE j.id = own.id;
    UPDATE pii_vault.rotation_runners AS r SET seen_at = clock_timestamp()
    WHERE r.job = own.id AND r.runner = claim_rotation.runner;
    IF own.step IN ('filled', 'done') THEN
        DELETE FROM pii_vault.rotation_runners AS r WHERE r.job = own.id;
        PERFORM pii_vault.note_rotation(own, own.step::text, NULL, '{}');
    END IF;
    RETURN QUERY SELECT own.step, own.paused, after_day, after_id, through_day, through_id, page_rows,
        own.total, own.changed, own.failed;
END
$$;
COMMENT ON FUNCTION pii_vault.claim_rotation IS 'The third, again and again, each committed: the next rows or keys to work on';

-- The fourth, in the transaction that changed them: what became of a page.
CREATE FUNCTION pii_vault.settle_rotation(
    job uuid, runner uuid, changed bigint, days date[], ids uuid[], keys uuid[], failures pii_vault.rotation_failure[]
)
RETURNS void
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own constant pii_vault.rotation_jobs := pii_vault.own_rotation(settle_rotation.job, true);
    noted bigint;
BEGIN
    IF settle_rotation.changed < 0 OR cardinality(days) <> cardinality(ids) OR cardinality(keys) <> cardinality(ids)
        OR cardinality(failures) <> cardinality(ids)
    THEN
        RAISE 'this is no outcome of a page' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Nothing was left: a page that comes late has changed nothing.
    IF own.step = 'done' THEN
        RETURN;
    ELSIF own.step = 'abandoned' THEN
        -- It may have: that is undone.
        RAISE 'this rotation was abandoned' USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'rotation_over';
    END IF;
    -- Rows that are listed so are not compared any more. A page that comes late has only what is listed already.
    IF (own.kind <> 'token-key' OR own.step <> 'work') AND EXISTS (
        SELECT FROM unnest(settle_rotation.days, settle_rotation.ids, settle_rotation.failures) AS f (day, id, why)
        WHERE f.why = 'token_mismatch' AND NOT EXISTS (
            SELECT FROM pii_vault.rotation_failures AS l WHERE l.job = own.id AND l.day = f.day AND l.id = f.id
        )
    ) THEN
        RAISE 'this rotation compares no tokens now' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO pii_vault.rotation_failures (job, day, id, key_id, why)
    SELECT own.id, f.day, f.id, f.key_id, f.why
    FROM unnest(settle_rotation.days, settle_rotation.ids, settle_rotation.keys, settle_rotation.failures)
        AS f (day, id, key_id, why)
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS noted = ROW_COUNT;
    IF own.kind = 'kek' AND own.old_keys <> '{}'
        AND own.changed + settle_rotation.changed > cardinality(own.old_keys)
    THEN
        RAISE 'this is no outcome of a page' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    UPDATE pii_vault.rotation_jobs AS j
    SET changed = j.changed + settle_rotation.changed, failed = j.failed + noted, worked_at = clock_timestamp()
    WHERE j.id = own.id;
    UPDATE pii_vault.rotation_runners AS r SET seen_at = clock_timestamp()
    WHERE r.job = own.id AND r.runner = settle_rotation.runner;
END
$$;
COMMENT ON FUNCTION pii_vault.settle_rotation IS
    'The fourth, in one transaction with the changes: how many rows or keys were changed, and which are passed over and why';

-- Every few seconds: who waits for KMS, or for the scan that ends a pass, neither claims nor settles, and is there all the same.
CREATE FUNCTION pii_vault.see_runner(job uuid, runner uuid) RETURNS void
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own constant pii_vault.rotation_jobs := pii_vault.own_rotation(see_runner.job, false);
BEGIN
    -- One that has gone stays away.
    UPDATE pii_vault.rotation_runners AS r SET seen_at = clock_timestamp()
    WHERE r.job = own.id AND r.runner = see_runner.runner;
END
$$;
COMMENT ON FUNCTION pii_vault.see_runner IS 'A runner is still there, whether it works or waits';

-- By an operator; runners stop before their next page.
CREATE FUNCTION pii_vault.pause_rotation(job uuid, reason text) RETURNS void
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own constant pii_vault.rotation_jobs := pii_vault.own_rotation(pause_rotation.job, true);
BEGIN
    -- Of a token key: what is filled or cut over, nobody works on.
    IF own.paused OR own.step NOT IN ('work', 'emptying') THEN
        RETURN;
    END IF;
    UPDATE pii_vault.rotation_jobs AS j SET paused = true WHERE j.id = own.id;
    PERFORM pii_vault.note_rotation(own, 'pause', left(pause_rotation.reason, 1000), '{}');
END
$$;
COMMENT ON FUNCTION pii_vault.pause_rotation IS 'Makes all runners of a job stop before their next page';

-- By an operator, of one that cannot come to its end, or is not to. What was done stays done; the same keys may be left by
-- another one. Whether it was still to be ended.
CREATE FUNCTION pii_vault.abandon_rotation(job uuid, reason text) RETURNS boolean
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own constant pii_vault.rotation_jobs := pii_vault.own_rotation(abandon_rotation.job, true);
BEGIN
    IF NOT (char_length(abandon_rotation.reason) BETWEEN 1 AND 1000 AND abandon_rotation.reason ~ '[^[:space:]]') THEN
        RAISE 'a reason has 1 to 1,000 characters' USING ERRCODE = 'invalid_parameter_value';
    ELSIF own.kind = 'token-key' THEN
        RAISE 'a rotation of the token key is rolled back' USING ERRCODE = 'object_not_in_prerequisite_state';
    ELSIF own.ended_at IS NOT NULL THEN
        RETURN false;
    END IF;
    UPDATE pii_vault.rotation_jobs AS j
    SET step = 'abandoned', paused = false, cursor_day = NULL, cursor_id = NULL, ended_at = clock_timestamp()
    WHERE j.id = own.id;
    DELETE FROM pii_vault.rotation_runners AS r WHERE r.job = own.id;
    PERFORM pii_vault.note_rotation(own, 'abandoned', abandon_rotation.reason, '{}');
    RETURN true;
END
$$;
COMMENT ON FUNCTION pii_vault.abandon_rotation IS
    'Gives up a rotation of wrapped keys or of data keys; false: it had ended before. All runners of it end';

-- A runner that is told to stop; the last one pauses the job. A runner that was killed less than a minute ago passes for one
-- that works on: then nobody pauses the job, as where the last one is killed. It goes on with whoever runs it again.
CREATE FUNCTION pii_vault.leave_rotation(job uuid, runner uuid) RETURNS void
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own constant pii_vault.rotation_jobs := pii_vault.own_rotation(leave_rotation.job, true);
BEGIN
    DELETE FROM pii_vault.rotation_runners AS r WHERE r.job = own.id AND r.runner = leave_rotation.runner;
    IF own.step IN ('work', 'emptying') AND NOT own.paused AND NOT EXISTS (
        SELECT FROM pii_vault.rotation_runners AS r
        WHERE r.job = own.id AND r.seen_at > clock_timestamp() - interval '1 minute'
    ) THEN
        UPDATE pii_vault.rotation_jobs AS j SET paused = true WHERE j.id = own.id;
        PERFORM pii_vault.note_rotation(own, 'pause', NULL, '{}');
    END IF;
END
$$;
COMMENT ON FUNCTION pii_vault.leave_rotation IS 'A runner goes; the job pauses where it was the last one seen';

REVOKE EXECUTE ON FUNCTION
    pii_vault.rotation_role, pii_vault.key_list_hash, pii_vault.begin_rotation, pii_vault.note_rotation, pii_vault.own_rotation,
    pii_vault.rotation_refusal, pii_vault.working_rotation, pii_vault.arm_rotation, pii_vault.rotation_source,
    pii_vault.rotation_page, pii_vault.pass_is_over, pii_vault.rotation_is_left, pii_vault.claim_rotation,
    pii_vault.settle_rotation, pii_vault.see_runner, pii_vault.pause_rotation, pii_vault.abandon_rotation,
    pii_vault.leave_rotation
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    pii_vault.arm_rotation, pii_vault.claim_rotation, pii_vault.settle_rotation, pii_vault.see_runner,
    pii_vault.pause_rotation, pii_vault.abandon_rotation, pii_vault.leave_rotation
    TO pii_vault_rewrap, pii_vault_reseal;
