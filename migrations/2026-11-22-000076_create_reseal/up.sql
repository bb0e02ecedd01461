-- Rotation of data keys: rows are opened and sealed anew, under a job.

-- What does not open and is not to hold its key back from retirement. Out of login_events it is seen by nobody, and it
-- does not open later: its key is retired. All that is known of it is kept, for who has a backup to compare it with.
CREATE TABLE pii_vault.set_aside_events (
    LIKE pii_vault.login_events,
    job uuid NOT NULL REFERENCES pii_vault.rotation_jobs,
    why pii_vault.rotation_failure NOT NULL CHECK (why <> 'token_mismatch'),
    set_aside_at timestamptz NOT NULL,
    PRIMARY KEY (job, create_date, event_id)
);
COMMENT ON TABLE pii_vault.set_aside_events IS
    'Events that did not open when their data key was rotated, and were taken out of login_events';
COMMENT ON COLUMN pii_vault.set_aside_events.job IS 'The rotation that passed it over';
COMMENT ON COLUMN pii_vault.set_aside_events.set_aside_at IS 'One for all that were set aside at once; their entry of the audit log has it';
GRANT SELECT (job, create_date, event_id, set_aside_at) ON pii_vault.set_aside_events TO pii_vault_auditor;

-- How many rows name a key. NULL: those keys that are decrypt-only.
CREATE FUNCTION pii_vault.rows_under_data_keys(keys uuid[])
RETURNS TABLE (id uuid, state pii_vault.key_state, row_count bigint, set_aside bigint)
LANGUAGE sql STABLE
SET search_path = pii_vault, pg_temp
AS $$
    WITH asked AS MATERIALIZED (
        SELECT a.id FROM unnest(rows_under_data_keys.keys) AS a (id)
        UNION
        SELECT k.id FROM pii_vault.data_keys AS k WHERE rows_under_data_keys.keys IS NULL AND k.state = 'decrypt-only'
    ), named AS (
        SELECT e.data_key_id AS id, count(*) AS count FROM pii_vault.login_events AS e GROUP BY e.data_key_id
    ), aside AS (
        SELECT s.data_key_id AS id, count(*) AS count FROM pii_vault.set_aside_events AS s GROUP BY s.data_key_id
    )
    SELECT a.id, k.state, coalesce(n.count, 0), coalesce(s.count, 0)
    FROM asked AS a
    LEFT JOIN pii_vault.data_keys AS k ON k.id = a.id
    LEFT JOIN named AS n ON n.id = a.id
    LEFT JOIN aside AS s ON s.id = a.id
    ORDER BY k.created_at, a.id
$$;

-- Locks data keys against batches that use them: those in flight have ended when it returns. For that it waits 5 s at
-- most; then it fails in a way that says that trying again helps. Where batches may use one of them, by the table: that
-- is one wait in one queue, where a row that batches share in turns might never be free.
CREATE FUNCTION pii_vault.lock_data_keys(keys uuid[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
SET lock_timeout = '5s'
AS $$
BEGIN
    IF EXISTS (SELECT FROM pii_vault.data_keys AS k WHERE k.id = ANY (lock_data_keys.keys) AND k.state = 'active') THEN
        LOCK TABLE pii_vault.data_keys IN EXCLUSIVE MODE;
    END IF;
    PERFORM FROM pii_vault.data_keys AS k WHERE k.id = ANY (lock_data_keys.keys) ORDER BY k.id FOR UPDATE;
EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
    RAISE 'other transactions use these keys' USING ERRCODE = 'serialization_failure';
END
$$;

-- The first: from here on ingestion seals under fresh keys. NULL: there is nothing to do.
CREATE FUNCTION pii_vault.record_reseal(keys uuid[], max_age interval, reason text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pii_vault, pg_temp
SET lock_timeout = '1s'
AS $$
DECLARE
    named constant uuid[] := coalesce(record_reseal.keys, '{}');
    chosen pii_vault.rotation_jobs;
BEGIN
    PERFORM pii_vault.require_member('pii_vault_reseal');
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'this needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    IF record_reseal.max_age < interval '0' OR named = '{}' AND record_reseal.max_age IS NULL OR EXISTS (
        SELECT FROM unnest(named) AS n (id) LEFT JOIN pii_vault.data_keys AS k ON k.id = n.id
        WHERE k.state IS NULL OR k.state = 'retired'
    ) THEN
        RAISE 'these are no data keys to leave' USING ERRCODE = 'invalid_parameter_value', CONSTRAINT = 'malformed';
    END IF;
    -- Before the locks, so that a long search holds up nobody. Of a key that is in use it may count too few.
    SELECT array_agg(c.id ORDER BY c.id), sum(c.row_count) INTO chosen.old_keys, chosen.total
    FROM pii_vault.rows_under_data_keys(ARRAY(
        SELECT k.id FROM pii_vault.data_keys AS k
        WHERE k.state <> 'retired'
            AND (k.id = ANY (named) OR k.created_at < clock_timestamp() - record_reseal.max_age)
    )) AS c
    WHERE c.state = 'active' OR c.row_count > 0;
    IF chosen.old_keys IS NULL THEN
        RETURN NULL;
    END IF;
    -- Whoever holds one of them has a batch in hand: it ends first, or is refused.
    PERFORM pii_vault.lock_data_keys(chosen.old_keys);
    -- No batch is to wait 5 s for the log behind these locks.
    BEGIN
        LOCK TABLE pii_vault.audit_turn IN SHARE UPDATE EXCLUSIVE MODE;
    EXCEPTION WHEN lock_not_available THEN
        RAISE 'another transaction holds the audit log'
            USING ERRCODE = 'lock_not_available', CONSTRAINT = 'log_is_held';
    END;
    UPDATE pii_vault.data_keys AS k SET state = 'decrypt-only' WHERE k.id = ANY (chosen.old_keys) AND k.state = 'active';
    chosen.kind := 'data-key';
    chosen.purpose := 'data';
    chosen.reason := record_reseal.reason;
    RETURN pii_vault.begin_rotation(chosen, jsonb_build_object(
        'named', CASE WHEN cardinality(named) <= 1000 THEN to_jsonb(named) END,
        'max_age', extract(epoch FROM record_reseal.max_age)::bigint
    ));
END
$$;
COMMENT ON FUNCTION pii_vault.record_reseal IS
    'The first of record, arm, claim, fetch, store and settle: records a rotation of data keys. Commit before you go on';

-- The fourth, of a claimed page: what of its rows is still under a key to be left, and was not found wanting.
CREATE FUNCTION pii_vault.fetch_reseal(job uuid, after_day date, after_id uuid, through_day date, through_id uuid)
RETURNS TABLE (
    create_date date, event_id uuid, user_id text, ip_ciphertext bytea, device_id_ciphertext bytea,
    data_key_id uuid, wrapped_key bytea, kms_key text, commitment bytea, max_step integer
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pii_vault, pg_temp
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    own pii_vault.rotation_jobs;
    first_day constant date := coalesce(fetch_reseal.after_day, '-infinity');
    before_id constant uuid := coalesce(fetch_reseal.after_id, '00000000-0000-0000-0000-000000000000');
BEGIN
    -- As if it were STRICT; but a first page is after nothing.
    IF num_nulls(fetch_reseal.job, fetch_reseal.through_day, fetch_reseal.through_id) > 0 THEN
        RETURN;
    END IF;
    own := pii_vault.working_rotation(fetch_reseal.job, 'data-key');
    IF own.ended_at IS NOT NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT e.create_date, e.event_id, e.user_id::text, e.ip_ciphertext, e.device_id_ciphertext,
        e.data_key_id, k.wrapped_key::bytea, k.kms_key, k.commitment::bytea, k.max_step
    FROM pii_vault.login_events AS e
    LEFT JOIN pii_vault.data_keys AS k ON k.id = e.data_key_id AND k.state <> 'retired'
    -- By the day alone first: it is what finds the partition.
    WHERE e.create_date >= first_day AND e.create_date <= fetch_reseal.through_day
        AND (e.create_date, e.event_id) > (first_day, before_id)
        AND (e.create_date, e.event_id) <= (fetch_reseal.through_day, fetch_reseal.through_id)
        AND e.data_key_id = ANY (own.old_keys)
        AND NOT EXISTS (
            SELECT FROM pii_vault.rotation_failures AS f
            WHERE f.job = own.id AND f.day = e.create_date AND f.id = e.event_id AND f.why <> 'token_mismatch'
        )
    ORDER BY e.create_date, e.event_id;
END
$$;
COMMENT ON FUNCTION pii_vault.fetch_reseal IS
    'The fourth of record, arm, claim, fetch, store and settle: sealed rows of a page, with their wrapped keys';

-- The fifth, in one transaction with settle_rotation. A row that was deleted, or is under another key by now, is let be.
CREATE FUNCTION pii_vault.store_reseal(
    job uuid, new_key uuid, days date[], ids uuid[], old_keys uuid[], ips bytea[], device_ids bytea[],
    OUT hold pii_vault.key_hold, OUT stored bigint
)
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET jit = off
SET lock_timeout = '5s'
AS $$
DECLARE
    own constant pii_vault.rotation_jobs := pii_vault.working_rotation(store_reseal.job, 'data-key');
BEGIN
    IF NOT store_reseal.old_keys <@ own.old_keys OR cardinality(ids) <> cardinality(days)
        OR cardinality(store_reseal.old_keys) <> cardinality(ids) OR cardinality(ips) <> cardinality(ids)
        OR cardinality(device_ids) <> cardinality(ids)
    THEN
        RAISE 'this is no page of the rotation' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    stored := 0;
    hold := pii_vault.hold_keys(ARRAY[store_reseal.new_key], '{}', '{}');
    IF hold <> 'held' OR own.ended_at IS NOT NULL THEN
        RETURN;
    END IF;
    -- Locked in the order of the primary key, as everybody does who changes rows: two that meet do not deadlock.
    WITH page AS MATERIALIZED (
        SELECT p.day, p.id, p.ip, p.device_id
        FROM unnest(
            store_reseal.days, store_reseal.ids, store_reseal.old_keys, store_reseal.ips, store_reseal.device_ids
        ) AS p (day, id, old_key, ip, device_id)
        JOIN pii_vault.login_events AS e
            ON e.create_date = p.day AND e.event_id = p.id AND e.data_key_id = p.old_key
        ORDER BY e.create_date, e.event_id FOR NO KEY UPDATE OF e
    )
    UPDATE pii_vault.login_events AS e
    SET ip_ciphertext = p.ip, device_id_ciphertext = p.device_id, data_key_id = store_reseal.new_key
    FROM page AS p WHERE e.create_date = p.day AND e.event_id = p.id;
    GET DIAGNOSTICS stored = ROW_COUNT;
EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
    RAISE 'other transactions have these rows or keys' USING ERRCODE = 'serialization_failure';
END
$$;
COMMENT ON FUNCTION pii_vault.store_reseal IS
    'The fifth of record, arm, claim, fetch, store and settle: rows of a page under a new key, where they are as they were fetched';

-- Takes keys out of use for good: those that are named, or, where none is, each decrypt-only one that no row names. Tells
-- how each stands. Where one of those that are named cannot be retired, none is.
CREATE FUNCTION pii_vault.retire_data_keys(keys uuid[], reason text)
RETURNS TABLE (id uuid, state pii_vault.key_state, row_count bigint, set_aside bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    asked uuid[] := retire_data_keys.keys;
    retired uuid[];
BEGIN
    PERFORM pii_vault.require_member('pii_vault_reseal');
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'this needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    IF (char_length(retire_data_keys.reason) BETWEEN 1 AND 1000 AND retire_data_keys.reason ~ '[^[:space:]]')
        IS NOT TRUE
    THEN
        RAISE 'a reason has 1 to 1,000 characters' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF asked IS NULL THEN
        SELECT coalesce(array_agg(c.id), '{}') INTO asked FROM pii_vault.rows_under_data_keys(NULL) AS c WHERE c.row_count = 0;
    END IF;
    -- One that is in use is none to retire, and no reason to hold up who uses it.
    IF EXISTS (SELECT FROM pii_vault.data_keys AS k WHERE k.id = ANY (asked) AND k.state = 'active') THEN
        RETURN QUERY SELECT c.id, c.state, c.row_count, c.set_aside FROM pii_vault.rows_under_data_keys(asked) AS c;
        RETURN;
    END IF;
    -- Locked before they are looked at: who adds a row holds its key, and nobody holds one that is decrypt-only.
    PERFORM pii_vault.lock_data_keys(ARRAY(
        SELECT k.id FROM pii_vault.data_keys AS k WHERE k.id = ANY (asked) AND k.state = 'decrypt-only'
    ));
    SELECT array_agg(c.id) FILTER (WHERE c.state = 'decrypt-only') INTO retired
    FROM pii_vault.rows_under_data_keys(asked) AS c
    HAVING bool_and(coalesce(c.state = 'retired' OR c.state = 'decrypt-only' AND c.row_count = 0, false));
    FOR n IN 1..coalesce(cardinality(retired), 0) BY 1000 LOOP
        PERFORM pii_vault.audit_append(
            pii_vault.audit_lock(), pii_vault.audit_origin(), 'key_rotation', NULL, NULL, NULL, retire_data_keys.reason, NULL,
            json_build_object(
                'kind', 'data-key', 'purpose', 'data', 'step', 'retire', 'keys', to_json(retired[n:n + 999])
            )
        );
    END LOOP;
    UPDATE pii_vault.data_keys AS k SET state = 'retired' WHERE k.id = ANY (retired);
    RETURN QUERY SELECT c.id, c.state, c.row_count, c.set_aside FROM pii_vault.rows_under_data_keys(asked) AS c;
END
$$;
COMMENT ON FUNCTION pii_vault.retire_data_keys IS 'Retires data keys that no event names, and tells how each stands';

-- How many rows are left under keys, for who rotates: of a rotation, or NULL: all decrypt-only ones.
CREATE FUNCTION pii_vault.count_reseal(job uuid)
RETURNS TABLE (id uuid, state pii_vault.key_state, row_count bigint, set_aside bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    keys uuid[];
BEGIN
    PERFORM pii_vault.require_member('pii_vault_reseal');
    SELECT j.old_keys INTO keys FROM pii_vault.rotation_jobs AS j WHERE j.id = count_reseal.job AND j.kind = 'data-key';
    IF keys IS NULL AND count_reseal.job IS NOT NULL THEN
        RAISE 'no rotation of data keys of this id'
            USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'unknown_rotation';
    END IF;
    RETURN QUERY SELECT c.* FROM pii_vault.rows_under_data_keys(keys) AS c;
END
$$;
COMMENT ON FUNCTION pii_vault.count_reseal IS 'How many rows are left under the keys of a rotation, or NULL: all decrypt-only ones';

-- By the owner, of a rotation that is done. NULL: it is not, or none of data keys.
CREATE FUNCTION pii_vault.set_aside_reseal(job uuid, reason text) RETURNS bigint
LANGUAGE plpgsql STRICT
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own constant pii_vault.rotation_jobs := (SELECT j FROM pii_vault.rotation_jobs AS j WHERE j.id = set_aside_reseal.job);
    at constant timestamptz := clock_timestamp();
    moved bigint;
    told jsonb;
BEGIN
    IF own.kind IS DISTINCT FROM 'data-key' OR own.step <> 'done' THEN
        RETURN NULL;
    END IF;
    WITH failed AS MATERIALIZED (
        SELECT e.create_date, e.event_id, f.why
        FROM pii_vault.rotation_failures AS f
        JOIN pii_vault.login_events AS e ON e.create_date = f.day AND e.event_id = f.id AND e.data_key_id = f.key_id
        WHERE f.job = own.id AND f.key_id = ANY (own.old_keys) AND f.why <> 'token_mismatch'
        ORDER BY e.create_date, e.event_id FOR UPDATE OF e
    ), taken AS (
        DELETE FROM pii_vault.login_events AS e USING failed AS f
        WHERE e.create_date = f.create_date AND e.event_id = f.event_id
        RETURNING e.*, f.why
    ), kept AS (
        INSERT INTO pii_vault.set_aside_events (
            create_date, event_id, user_id, device_type, locale, app_version, ip_ciphertext, device_id_ciphertext,
            data_key_id, ip_token_a, device_id_token_a, token_key_a, ip_token_b, device_id_token_b, token_key_b,
            ingested_at, job, why, set_aside_at
        )
        SELECT t.create_date, t.event_id, t.user_id, t.device_type, t.locale, t.app_version, t.ip_ciphertext,
            t.device_id_ciphertext, t.data_key_id, t.ip_token_a, t.device_id_token_a, t.token_key_a, t.ip_token_b,
            t.device_id_token_b, t.token_key_b, t.ingested_at, own.id, t.why, at
        FROM taken AS t
        RETURNING create_date, event_id
    )
    SELECT count(*), jsonb_build_object(
        'rows', count(*), 'set_aside_at', (extract(epoch FROM at) * 1000000)::bigint,
        'list_sha256', encode(pii_vault.list_hash(
            array_agg(k.create_date ORDER BY k.create_date, k.event_id),
            array_agg(k.event_id ORDER BY k.create_date, k.event_id)
        ), 'hex')
    ) INTO moved, told FROM kept AS k;
    IF moved > 0 THEN
        PERFORM pii_vault.note_rotation(own, 'set_aside', set_aside_reseal.reason, told);
    END IF;
    RETURN moved;
END
$$;
COMMENT ON FUNCTION pii_vault.set_aside_reseal IS
    'Takes events that did not open out of login_events, so that their keys can be retired. For the owner alone';

-- What is handed out of a rotation beside the pages of its work, by the same rule as all else: recorded, armed, fetched.
CREATE TYPE pii_vault.rotation_handout AS ENUM ('sample', 'token_map');
COMMENT ON TYPE pii_vault.rotation_handout IS
    'sample: rows that are opened to verify a rotation; token_map: old tokens and new ones, side by side';

CREATE TABLE pii_vault.rotation_handouts (
    id uuid PRIMARY KEY,
    kind pii_vault.rotation_handout NOT NULL,
    job uuid NOT NULL REFERENCES pii_vault.rotation_jobs,
    seq bigint NOT NULL UNIQUE,
    recorded_at timestamptz NOT NULL,
    recorded_by xid8 NOT NULL DEFAULT pg_current_xact_id(),
    armed_at_lsn pg_lsn,
    armed_by xid8,
    actor text NOT NULL DEFAULT session_user,
    days date[],
    ids uuid[],
    CONSTRAINT armed_is_whole CHECK (num_nulls(armed_at_lsn, armed_by) IN (0, 2)),
    CONSTRAINT kind_has_its_members CHECK (CASE kind
        WHEN 'sample' THEN coalesce(cardinality(ids) BETWEEN 1 AND 10000 AND cardinality(ids) = cardinality(days), false)
        ELSE num_nonnulls(days, ids) = 0
    END)
);
COMMENT ON TABLE pii_vault.rotation_handouts IS
    'Samples of rows, and maps of tokens, that are handed out of a rotation. Each is an entry of the audit log first';
COMMENT ON COLUMN pii_vault.rotation_handouts.seq IS 'The entry of the audit log that records it';
COMMENT ON COLUMN pii_vault.rotation_handouts.ids IS 'sample: with days, the rows of it, and no others';
GRANT SELECT ON pii_vault.rotation_handouts TO pii_vault_auditor;

-- Under the lock on the log.
CREATE FUNCTION pii_vault.record_handout(
    own pii_vault.rotation_jobs, kind pii_vault.rotation_handout, reason text, details jsonb, days date[], ids uuid[]
)
RETURNS uuid
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    handout constant uuid := gen_random_uuid();
    entry bigint;
BEGIN
    PERFORM pii_vault.audit_lock();
    -- What has become of it since it was read: entries of a job tell its counts in order.
    SELECT j.* INTO own FROM pii_vault.rotation_jobs AS j WHERE j.id = own.id;
    entry := pii_vault.note_rotation(
        own, record_handout.kind::text, record_handout.reason,
        record_handout.details || jsonb_build_object('handout', handout)
    );
    INSERT INTO pii_vault.rotation_handouts (id, kind, job, seq, recorded_at, days, ids)
    SELECT handout, record_handout.kind, own.id, l.seq, l.at, record_handout.days, record_handout.ids
    FROM pii_vault.audit_log AS l WHERE l.seq = entry;
    RETURN handout;
END
$$;

-- For who recorded it in a transaction that is committed, and is not this one.
CREATE FUNCTION pii_vault.own_handout(handout uuid) RETURNS pii_vault.rotation_handouts
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own pii_vault.rotation_handouts;
BEGIN
    PERFORM pii_vault.require_member('pii_vault_reseal');
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'this needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    SELECT h.* INTO own FROM pii_vault.rotation_handouts AS h WHERE h.id = own_handout.handout;
    IF own.actor IS DISTINCT FROM session_user::text OR own.recorded_by = pg_current_xact_id_if_assigned()
        OR pii_vault.is_committed(own.recorded_by) IS NOT TRUE
    THEN
        RAISE 'no committed sample or map of this login'
            USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'unknown_handout';
    END IF;
    RETURN own;
END
$$;

CREATE FUNCTION pii_vault.arm_handout(handout uuid) RETURNS bigint
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own constant pii_vault.rotation_handouts := pii_vault.own_handout(arm_handout.handout);
BEGIN
    UPDATE pii_vault.rotation_handouts AS h
    SET armed_at_lsn = pg_current_wal_insert_lsn(), armed_by = pg_current_xact_id()
    WHERE h.id = own.id AND h.armed_by IS NULL;
    RETURN own.seq;
END
$$;
COMMENT ON FUNCTION pii_vault.arm_handout IS
    'The second of record, arm, fetch, after the record is committed: its entry of the audit log. Commit before you fetch';

-- Every function that hands something out of it begins with it.
CREATE FUNCTION pii_vault.armed_handout(handout uuid, kind pii_vault.rotation_handout) RETURNS pii_vault.rotation_handouts
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own constant pii_vault.rotation_handouts := pii_vault.own_handout(armed_handout.handout);
    job pii_vault.rotation_jobs;
    refusal pii_vault.access_refusal;
BEGIN
    IF own.kind <> armed_handout.kind THEN
        RAISE 'it is of another kind' USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'unknown_handout';
    END IF;
    IF (own.recorded_at > clock_timestamp() - CASE own.kind
        WHEN 'sample' THEN interval '10 minutes' ELSE interval '1 hour' END) IS NOT TRUE
    THEN
        refusal := 'stale';
    ELSE
        -- Judged as a rotation is that was recorded and armed as it was.
        job.armed_by := CASE WHEN pii_vault.is_committed(own.armed_by) THEN own.armed_by END;
        job.armed_at_lsn := own.armed_at_lsn;
        job.seq := own.seq;
        refusal := pii_vault.rotation_refusal(job);
    END IF;
    IF refusal IS NOT NULL THEN
        RAISE 'nothing is handed out for it: %', refusal
            USING ERRCODE = 'insufficient_privilege', CONSTRAINT = refusal::text;
    END IF;
    RETURN own;
END
$$;

-- Of a rotation of data keys: rows under keys that were made since, and of these first those that were there before it:
-- the others say nothing of what it did. Of one of the token key that has filled its rows, or is
-- done: rows that it did not list; some fewer where what is read of them is thin. NULL: there are none.
CREATE FUNCTION pii_vault.record_sample(job uuid, most integer) RETURNS uuid
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own pii_vault.rotation_jobs;
    few constant integer := least(record_sample.most, 10000);
    percent constant real := least(100, 400.0 * few / greatest((
        SELECT sum(c.reltuples) FROM pg_class AS c JOIN pg_inherits AS i ON i.inhrelid = c.oid
        WHERE i.inhparent = 'pii_vault.login_events'::regclass AND c.reltuples > 0
    ), 1));
    chosen_days date[];
    chosen_ids uuid[];
BEGIN
    PERFORM pii_vault.require_member('pii_vault_reseal');
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'this needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    -- Whoever works on it as it stands: this looks at what was done.
    SELECT j.* INTO own FROM pii_vault.rotation_jobs AS j WHERE j.id = record_sample.job AND j.kind <> 'kek';
    IF own.id IS NULL OR own.recorded_by = pg_current_xact_id_if_assigned() THEN
        RAISE 'no committed rotation of this id' USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'unknown_rotation';
    END IF;
    IF own.kind = 'data-key' THEN
        SELECT array_agg(c.create_date ORDER BY c.create_date, c.event_id), array_agg(c.event_id ORDER BY c.create_date, c.event_id)
        INTO chosen_days, chosen_ids FROM (
            SELECT e.create_date, e.event_id FROM pii_vault.login_events AS e
            JOIN pii_vault.data_keys AS k ON k.id = e.data_key_id AND k.created_at >= own.recorded_at
            ORDER BY e.ingested_at >= own.recorded_at, random() LIMIT few
        ) AS c;
    ELSIF own.step NOT IN ('filled', 'cut_over', 'done') THEN
        RAISE 'no rotation of the token key that has filled its rows'
            USING ERRCODE = 'object_not_in_prerequisite_state', CONSTRAINT = 'not_filled';
    ELSE
        SELECT array_agg(c.create_date ORDER BY c.create_date, c.event_id), array_agg(c.event_id ORDER BY c.create_date, c.event_id)
        INTO chosen_days, chosen_ids FROM (
            SELECT s.create_date, s.event_id FROM pii_vault.login_events AS s TABLESAMPLE SYSTEM (percent)
            WHERE (s.create_date, s.event_id) NOT IN (
                SELECT f.day, f.id FROM pii_vault.rotation_failures AS f WHERE f.job = own.id
            )
            ORDER BY random() LIMIT few
        ) AS c;
    END IF;
    IF chosen_ids IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN pii_vault.record_handout(own, 'sample', NULL, jsonb_build_object(
        'rows', cardinality(chosen_ids), 'list_sha256', encode(pii_vault.list_hash(chosen_days, chosen_ids), 'hex')
    ), chosen_days, chosen_ids);
END
$$;
COMMENT ON FUNCTION pii_vault.record_sample IS
    'The first of record, arm, fetch: records which rows are opened to verify a rotation. Commit before you go on';

CREATE FUNCTION pii_vault.fetch_sample(sample uuid)
RETURNS TABLE (
    create_date date, event_id uuid, user_id text, ip_ciphertext bytea, device_id_ciphertext bytea,
    data_key_id uuid, wrapped_key bytea, kms_key text, commitment bytea, max_step integer,
    token_key_a uuid, ip_token_a text, device_id_token_a text, token_key_b uuid, ip_token_b text, device_id_token_b text
)
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    own constant pii_vault.rotation_handouts := pii_vault.armed_handout(fetch_sample.sample, 'sample');
BEGIN
    RETURN QUERY
    SELECT e.create_date, e.event_id, e.user_id::text, e.ip_ciphertext, e.device_id_ciphertext,
        e.data_key_id, k.wrapped_key::bytea, k.kms_key, k.commitment::bytea, k.max_step,
        e.token_key_a, e.ip_token_a::text, e.device_id_token_a::text,
        e.token_key_b, e.ip_token_b::text, e.device_id_token_b::text
    FROM unnest(own.days, own.ids) AS l (day, id)
    JOIN pii_vault.login_events AS e ON e.create_date = l.day AND e.event_id = l.id
    LEFT JOIN pii_vault.data_keys AS k ON k.id = e.data_key_id AND k.state <> 'retired'
    ORDER BY e.create_date, e.event_id;
END
$$;
COMMENT ON FUNCTION pii_vault.fetch_sample IS
    'The third of record, arm, fetch: sealed rows of a sample, with their tokens and wrapped keys';

REVOKE EXECUTE ON FUNCTION
    pii_vault.rows_under_data_keys, pii_vault.lock_data_keys, pii_vault.record_reseal, pii_vault.fetch_reseal,
    pii_vault.store_reseal, pii_vault.retire_data_keys, pii_vault.count_reseal, pii_vault.set_aside_reseal,
    pii_vault.record_handout, pii_vault.own_handout, pii_vault.arm_handout, pii_vault.armed_handout,
    pii_vault.record_sample, pii_vault.fetch_sample
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    pii_vault.record_reseal, pii_vault.fetch_reseal, pii_vault.store_reseal, pii_vault.retire_data_keys,
    pii_vault.count_reseal, pii_vault.arm_handout, pii_vault.record_sample, pii_vault.fetch_sample
    TO pii_vault_reseal;
