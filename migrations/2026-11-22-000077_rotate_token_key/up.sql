-- Rotation of the token key, up to where every row has tokens of both keys.

ALTER TABLE pii_vault.token_keys ADD COLUMN optional boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN pii_vault.token_keys.optional IS
    'Of a pending key that is some seconds old: a batch that was made before it may go without. Back-fill ends that, and finds it';

-- As before, but read anew after the wait: a key that became pending while this waited for the lock on the active one is
-- not in the snapshot of the statement that waited. And a pending key may be optional: what is in flight when a rotation
-- begins need not come again. It holds keys no harder than it must: against FOR UPDATE and locks on their table, by which
-- keys go out of use, and not against what wraps them anew, which would have to wait for batches that share them in turns.
CREATE OR REPLACE FUNCTION pii_vault.hold_keys(data_keys uuid[], dead_letter_keys uuid[], token_keys uuid[])
RETURNS pii_vault.key_hold
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    held uuid[];
    required uuid[];
BEGIN
    -- The snapshot of an older transaction would be that of its first statement.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'this needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    -- A batch without events has no tokens.
    IF hold_keys.token_keys <> '{}' THEN
        PERFORM FROM pii_vault.token_keys WHERE state IN ('pending', 'active') ORDER BY id FOR KEY SHARE;
        SELECT coalesce(array_agg(id), '{}'), coalesce(array_agg(id) FILTER (WHERE state = 'active' OR NOT optional), '{}')
        INTO held, required
        FROM (
            SELECT id, state, optional FROM pii_vault.token_keys WHERE state IN ('pending', 'active') ORDER BY id FOR KEY SHARE
        ) AS k;
        IF NOT (required <@ hold_keys.token_keys AND hold_keys.token_keys <@ held) THEN
            RETURN 'token_keys_changed';
        END IF;
    END IF;

    SELECT coalesce(array_agg(id), '{}') INTO held FROM (
        SELECT id FROM pii_vault.data_keys WHERE id = ANY (hold_keys.data_keys) AND state = 'active' ORDER BY id FOR KEY SHARE
    ) AS k;
    IF NOT hold_keys.data_keys <@ held THEN
        RETURN 'sealing_key_not_active';
    END IF;

    SELECT coalesce(array_agg(id), '{}') INTO held FROM (
        SELECT id FROM pii_vault.dead_letter_keys
        WHERE id = ANY (hold_keys.dead_letter_keys) AND state = 'active' ORDER BY id FOR KEY SHARE
    ) AS k;
    IF NOT hold_keys.dead_letter_keys <@ held THEN
        RETURN 'sealing_key_not_active';
    END IF;

    RETURN 'held';
END
$$;

CREATE FUNCTION pii_vault.other_slot(slot pii_vault.token_slot) RETURNS pii_vault.token_slot
LANGUAGE sql IMMUTABLE STRICT
SET search_path = pii_vault, pg_temp
AS $$ SELECT CASE slot WHEN 'a' THEN 'b' ELSE 'a' END::pii_vault.token_slot $$;

-- Records a rotation to a key that fills the other slot from now on. Counts before it locks; then it locks the table and
-- not the row: that is one wait in one queue, where a row that batches hold in turns would never be free. `leave` names the
-- key that is to be left. NULL: none is named, and the one in use was made no longer ago than max_age.
CREATE FUNCTION pii_vault.record_token_rotation(
    id uuid, wrapped_key bytea, kms_key text, commitment bytea, reason text,
    leave uuid DEFAULT NULL, max_age interval DEFAULT NULL
)
RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pii_vault, pg_temp
SET lock_timeout = '5s'
SET client_min_messages = 'error'
SET debug_print_plan = off
AS $$
DECLARE
    old_key pii_vault.token_keys;
    new_job pii_vault.rotation_jobs;
    filled bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'this needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    PERFORM pii_vault.require_member('pii_vault_reseal');
    IF EXISTS (SELECT FROM pii_vault.rotation_jobs AS j WHERE j.kind = 'token-key' AND j.step <> 'done') THEN
        RAISE 'a rotation of the token key is not done yet'
            USING ERRCODE = 'object_not_in_prerequisite_state', CONSTRAINT = 'unfinished_rotation';
    END IF;
    IF record_token_rotation.max_age < interval '0' THEN
        RAISE 'no key is as young as that' USING ERRCODE = 'invalid_parameter_value', CONSTRAINT = 'malformed';
    END IF;
    SELECT k.* INTO old_key FROM pii_vault.token_keys AS k WHERE k.state = 'active';
    IF record_token_rotation.leave <> old_key.id THEN
        RAISE 'the key that is named is not the one in use'
            USING ERRCODE = 'object_not_in_prerequisite_state', CONSTRAINT = 'not_the_active_key';
    ELSIF record_token_rotation.leave IS NULL AND old_key.created_at >= clock_timestamp() - record_token_rotation.max_age THEN
        RETURN NULL;
    END IF;
    SELECT count(*), count(CASE old_key.slot WHEN 'a' THEN e.token_key_b ELSE e.token_key_a END)
    INTO new_job.total, filled FROM pii_vault.login_events AS e;
    IF filled > 0 THEN
        RAISE 'the other slot has tokens' USING ERRCODE = 'object_not_in_prerequisite_state', CONSTRAINT = 'slot_in_use';
    END IF;
    BEGIN
        LOCK TABLE pii_vault.token_keys IN EXCLUSIVE MODE;
    EXCEPTION WHEN lock_not_available THEN
        RAISE 'a batch holds the token keys' USING ERRCODE = 'lock_not_available', CONSTRAINT = 'keys_are_held';
    END;
    -- No batch is to wait 5 s for the log behind this lock.
    PERFORM set_config('lock_timeout', '1s', true);
    BEGIN
        LOCK TABLE pii_vault.audit_turn IN SHARE UPDATE EXCLUSIVE MODE;
    EXCEPTION WHEN lock_not_available THEN
        RAISE 'another transaction holds the audit log'
            USING ERRCODE = 'lock_not_available', CONSTRAINT = 'log_is_held';
    END;
    IF EXISTS (SELECT FROM pii_vault.token_keys AS k WHERE k.state = 'pending')
        OR NOT EXISTS (SELECT FROM pii_vault.token_keys AS k WHERE k.id = old_key.id AND k.state = 'active')
    THEN
        RAISE 'another rotation of the token key was faster'
            USING ERRCODE = 'object_not_in_prerequisite_state', CONSTRAINT = 'unfinished_rotation';
    END IF;
    INSERT INTO pii_vault.token_keys (id, slot, state, wrapped_key, kms_key, commitment, optional)
    VALUES (
        record_token_rotation.id, pii_vault.other_slot(old_key.slot), 'pending',
        record_token_rotation.wrapped_key, record_token_rotation.kms_key, record_token_rotation.commitment, true
    );
    new_job.kind := 'token-key';
    new_job.purpose := 'token';
    new_job.reason := record_token_rotation.reason;
    new_job.old_keys := ARRAY[old_key.id];
    new_job.new_key := record_token_rotation.id;
    new_job.old_slot := old_key.slot;
    RETURN pii_vault.begin_rotation(
        new_job, jsonb_build_object(
            'named', array_remove(ARRAY[record_token_rotation.leave], NULL),
            'max_age', extract(epoch FROM record_token_rotation.max_age)::bigint
        )
    );
END
$$;
COMMENT ON FUNCTION pii_vault.record_token_rotation IS
    'The first of record, arm, claim, fetch, store: a new token key, pending in the other slot, and the job that fills it';

-- Whoever comes while a statement waits for a table waits behind it. So tries are short; one in ten is longer, for where
-- readers follow each other without a gap.
CREATE FUNCTION pii_vault.wait_shortly() RETURNS void
LANGUAGE sql
SET search_path = pii_vault, pg_temp
AS $$ SELECT set_config('lock_timeout', CASE WHEN random() < 0.1 THEN '1s' ELSE '200ms' END, true) $$;
COMMENT ON FUNCTION pii_vault.wait_shortly IS
    'How long a try waits for locks, until the function ends that sets lock_timeout: 200 ms, or 1 s';

-- Before a claim locks its job: keys come first. What was let through without the key has ended when this gets its lock,
-- and nothing more is let through; so what a later scan finds filled is all that there is.
CREATE FUNCTION pii_vault.require_token_key(job uuid) RETURNS void
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
SET lock_timeout = '200ms'
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pii_vault.rotation_jobs AS j JOIN pii_vault.token_keys AS k ON k.id = j.new_key
        WHERE j.id = require_token_key.job AND k.optional AND k.created_at < clock_timestamp() - interval '5 seconds'
    ) THEN
        RETURN;
    END IF;
    PERFORM pii_vault.wait_shortly();
    LOCK TABLE pii_vault.token_keys IN EXCLUSIVE MODE;
    -- Batches are not to wait for who has the job.
    PERFORM FROM pii_vault.rotation_jobs AS j WHERE j.id = require_token_key.job FOR UPDATE NOWAIT;
    UPDATE pii_vault.token_keys AS k SET optional = false
    FROM pii_vault.rotation_jobs AS j WHERE j.id = require_token_key.job AND k.id = j.new_key;
EXCEPTION WHEN lock_not_available THEN
    -- Another claim tries again.
    RETURN;
END
$$;

-- The fourth: what of a claimed page is not filled, with the tokens that it has. What does not open is not handed out again.
CREATE FUNCTION pii_vault.fetch_backfill(job uuid, after_day date, after_id uuid, through_day date, through_id uuid)
RETURNS TABLE (
    create_date date, event_id uuid, user_id text, ip_ciphertext bytea, device_id_ciphertext bytea, data_key_id uuid,
    wrapped_key bytea, kms_key text, commitment bytea, max_step integer,
    ip_token text, device_id_token text, token_key uuid
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
    beyond constant date := coalesce(fetch_backfill.after_day, '-infinity');
    beyond_id constant uuid := coalesce(fetch_backfill.after_id, '00000000-0000-0000-0000-000000000000');
BEGIN
    -- Not STRICT: the first page begins beyond nothing.
    IF fetch_backfill.job IS NULL THEN
        RETURN;
    END IF;
    own := pii_vault.working_rotation(fetch_backfill.job, 'token-key');
    IF own.step <> 'work' THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT e.create_date, e.event_id, e.user_id::text, e.ip_ciphertext, e.device_id_ciphertext, e.data_key_id,
        k.wrapped_key::bytea, k.kms_key, k.commitment::bytea, k.max_step,
        CASE own.old_slot WHEN 'a' THEN e.ip_token_a ELSE e.ip_token_b END::text,
        CASE own.old_slot WHEN 'a' THEN e.device_id_token_a ELSE e.device_id_token_b END::text,
        CASE own.old_slot WHEN 'a' THEN e.token_key_a ELSE e.token_key_b END
    FROM pii_vault.login_events AS e
    LEFT JOIN pii_vault.data_keys AS k ON k.id = e.data_key_id AND k.state <> 'retired'
    WHERE e.create_date >= beyond AND e.create_date <= fetch_backfill.through_day
        AND (e.create_date, e.event_id) > (beyond, beyond_id)
        AND (e.create_date, e.event_id) <= (fetch_backfill.through_day, fetch_backfill.through_id)
        AND CASE own.old_slot WHEN 'a' THEN e.token_key_b ELSE e.token_key_a END IS NULL
        AND NOT EXISTS (
            SELECT FROM pii_vault.rotation_failures AS f
            WHERE f.job = own.id AND f.day = e.create_date AND f.id = e.event_id AND f.why <> 'token_mismatch'
        )
    ORDER BY e.create_date, e.event_id;
END
$$;
COMMENT ON FUNCTION pii_vault.fetch_backfill IS
    'The fourth of record, arm, claim, fetch, store: sealed values and old tokens of the rows of a page that are not filled';

-- The fifth, in one transaction with settle_rotation: tokens of the new key, where there are none yet. NULL: the key is
-- not pending any more, and nothing was changed.
CREATE FUNCTION pii_vault.store_backfill(job uuid, days date[], ids uuid[], ips text[], device_ids text[])
RETURNS bigint
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
SET enable_seqscan = off
SET jit = off
SET lock_timeout = '5s'
AS $$
DECLARE
    own constant pii_vault.rotation_jobs := pii_vault.working_rotation(store_backfill.job, 'token-key');
    slot constant text := pii_vault.other_slot(own.old_slot);
    stored bigint;
BEGIN
    IF cardinality(days) <> cardinality(ids) OR cardinality(ips) <> cardinality(ids)
        OR cardinality(device_ids) <> cardinality(ids)
    THEN
        RAISE 'these are no tokens of a page' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM FROM pii_vault.token_keys AS k WHERE k.id = own.new_key AND k.state = 'pending' FOR SHARE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- Others that change the same rows take them in the same order.
    PERFORM FROM pii_vault.login_events AS e
    JOIN unnest(store_backfill.days, store_backfill.ids) AS g (day, id) ON e.create_date = g.day AND e.event_id = g.id
    ORDER BY e.create_date, e.event_id
    FOR NO KEY UPDATE OF e;
    EXECUTE format(
        'UPDATE pii_vault.login_events AS e SET ip_token_%1$s = g.ip, device_id_token_%1$s = g.device_id, token_key_%1$s = $1
         FROM unnest($2, $3, $4, $5) AS g (day, id, ip, device_id)
         WHERE e.create_date = g.day AND e.event_id = g.id AND e.token_key_%1$s IS NULL',
        slot
    ) USING own.new_key, store_backfill.days, store_backfill.ids, store_backfill.ips, store_backfill.device_ids;
    GET DIAGNOSTICS stored = ROW_COUNT;
    RETURN stored;
EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
    -- A runner tries again.
    RAISE 'another transaction holds rows of the page, or the key' USING ERRCODE = 'serialization_failure';
END
$$;
COMMENT ON FUNCTION pii_vault.store_backfill IS
    'The fifth of record, arm, claim, fetch, store: fills the slot of the new key where it is empty, while that is pending';

-- What did not open is tried again: for who mended it.
CREATE FUNCTION pii_vault.retry_backfill(job uuid, reason text) RETURNS bigint
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own constant pii_vault.rotation_jobs := pii_vault.own_rotation(retry_backfill.job, true);
    again bigint;
BEGIN
    IF own.kind <> 'token-key' OR own.step NOT IN ('work', 'filled') THEN
        RAISE 'the rotation does not fill rows' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    DELETE FROM pii_vault.rotation_failures AS f WHERE f.job = own.id AND f.why <> 'token_mismatch'
        -- What has a stand-in is not tried again, and stays listed.
        AND NOT EXISTS (
            SELECT FROM pii_vault.login_events AS e WHERE e.create_date = f.day AND e.event_id = f.id
                AND CASE own.old_slot WHEN 'a' THEN e.token_key_b ELSE e.token_key_a END IS NOT NULL
        );
    GET DIAGNOSTICS again = ROW_COUNT;
    IF again > 0 THEN
        UPDATE pii_vault.rotation_jobs AS j
        SET failed = j.failed - again, step = 'work', pass = j.pass + 1, cursor_day = NULL, cursor_id = NULL
        WHERE j.id = own.id;
        PERFORM pii_vault.note_rotation(own, 'retry', left(retry_backfill.reason, 1000), jsonb_build_object('rows', again));
    END IF;
    RETURN again;
END
$$;
COMMENT ON FUNCTION pii_vault.retry_backfill IS 'Rows that did not open are tried once more; how many they are';

REVOKE EXECUTE ON FUNCTION
    pii_vault.other_slot, pii_vault.record_token_rotation, pii_vault.wait_shortly, pii_vault.require_token_key,
    pii_vault.fetch_backfill, pii_vault.store_backfill, pii_vault.retry_backfill
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    pii_vault.record_token_rotation, pii_vault.fetch_backfill, pii_vault.store_backfill, pii_vault.retry_backfill
    TO pii_vault_reseal;

-- The tokens of both keys, side by side, of the rows that have both and were not found to have another's.
CREATE FUNCTION pii_vault.token_pairs_of(own pii_vault.rotation_jobs) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pii_vault, pg_temp
AS $$
    -- Bytes are compared faster than text, and just as well.
    SELECT format(
        'SELECT e.create_date, e.event_id, e.ip_token_%1$s::text COLLATE "C" AS old_ip, e.ip_token_%2$s::text COLLATE "C" AS new_ip,
             e.device_id_token_%1$s::text COLLATE "C" AS old_device_id, e.device_id_token_%2$s::text COLLATE "C" AS new_device_id
         FROM pii_vault.login_events AS e
         WHERE e.token_key_%1$s = %3$L AND e.token_key_%2$s = %4$L AND (e.create_date, e.event_id) NOT IN (
             SELECT f.day, f.id FROM pii_vault.rotation_failures AS f WHERE f.job = %5$L AND f.why = ''token_mismatch''
         )',
        own.old_slot, pii_vault.other_slot(own.old_slot), own.old_keys[1], own.new_key, own.id
    )
$$;

CREATE FUNCTION pii_vault.filled_token_rotation(job uuid) RETURNS pii_vault.rotation_jobs
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own pii_vault.rotation_jobs;
BEGIN
    IF pii_vault.is_member('pii_vault_owner') IS NOT TRUE THEN
        PERFORM pii_vault.require_member('pii_vault_reseal');
    END IF;
    SELECT j.* INTO own FROM pii_vault.rotation_jobs AS j WHERE j.id = filled_token_rotation.job;
    IF own.id IS NULL OR own.kind <> 'token-key' OR own.step NOT IN ('filled', 'cut_over') THEN
        RAISE 'no rotation of the token key that has filled its rows'
            USING ERRCODE = 'object_not_in_prerequisite_state', CONSTRAINT = 'not_filled';
    END IF;
    RETURN own;
END
$$;

-- Whether each row has tokens of both keys, and whether they tell the same: as many pairs as there are old tokens, and as
-- there are new ones, is one new token for each old one and the other way around; hence the same groups of duplicates. What
-- is in the old slot of rows that were found to have another's is known to be wrong: it counts as mismatched alone.
CREATE FUNCTION pii_vault.token_report(job uuid)
RETURNS TABLE (
    row_count bigint, only_old bigint, passed_over bigint, stand_ins bigint, only_new bigint, other_keys bigint,
    mismatched bigint, old_ips bigint, new_ips bigint, ip_pairs bigint,
    old_device_ids bigint, new_device_ids bigint, device_id_pairs bigint
)
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
SET work_mem = '64MB'
AS $$
#variable_conflict use_column
DECLARE
    own constant pii_vault.rotation_jobs := pii_vault.filled_token_rotation(token_report.job);
BEGIN
    SELECT count(*), count(*) FILTER (WHERE t.new_key IS NULL), count(*) FILTER (WHERE t.old_key IS NULL AND NOT t.is_listed),
        count(*) FILTER (WHERE t.old_key <> own.old_keys[1] AND NOT t.is_listed OR t.new_key <> own.new_key)
    INTO row_count, only_old, only_new, other_keys
    FROM (
        SELECT CASE own.old_slot WHEN 'a' THEN e.token_key_a ELSE e.token_key_b END AS old_key,
            CASE own.old_slot WHEN 'a' THEN e.token_key_b ELSE e.token_key_a END AS new_key,
            (e.create_date, e.event_id) IN (
                SELECT f.day, f.id FROM pii_vault.rotation_failures AS f WHERE f.job = own.id AND f.why = 'token_mismatch'
            ) AS is_listed
        FROM pii_vault.login_events AS e
    ) AS t;
    SELECT count(*) FILTER (WHERE f.why <> 'token_mismatch' AND t.new_key IS NULL),
        count(*) FILTER (WHERE f.why <> 'token_mismatch' AND t.new_key IS NOT NULL),
        count(*) FILTER (WHERE f.why = 'token_mismatch')
    INTO passed_over, stand_ins, mismatched
    FROM pii_vault.rotation_failures AS f
    -- Rows that were erased since are no matter any more.
    JOIN pii_vault.login_events AS e ON e.create_date = f.day AND e.event_id = f.id
    CROSS JOIN LATERAL (SELECT CASE own.old_slot WHEN 'a' THEN e.token_key_b ELSE e.token_key_a END AS new_key) AS t
    WHERE f.job = own.id;
    EXECUTE 'WITH pairs AS MATERIALIZED (
            SELECT grouping(t.old_ip) = 0 AS of_ip, t.old_ip, t.new_ip, t.old_device_id, t.new_device_id
            FROM (' || pii_vault.token_pairs_of(own) || ') AS t
            GROUP BY GROUPING SETS ((t.old_ip, t.new_ip), (t.old_device_id, t.new_device_id))
        )
        SELECT (SELECT count(*) FROM (SELECT FROM pairs WHERE of_ip GROUP BY old_ip) AS g),
            (SELECT count(*) FROM (SELECT FROM pairs WHERE of_ip GROUP BY new_ip) AS g),
            (SELECT count(*) FROM pairs WHERE of_ip),
            (SELECT count(*) FROM (SELECT FROM pairs WHERE NOT of_ip GROUP BY old_device_id) AS g),
            (SELECT count(*) FROM (SELECT FROM pairs WHERE NOT of_ip GROUP BY new_device_id) AS g),
            (SELECT count(*) FROM pairs WHERE NOT of_ip)'
    INTO old_ips, new_ips, ip_pairs, old_device_ids, new_device_ids, device_id_pairs;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION pii_vault.token_report IS
    'Of a rotation of the token key that has filled its rows: rows by the slots that they have, distinct tokens, and distinct pairs';

-- Rows that make the report differ: that lack tokens, or whose tokens are paired with others elsewhere.
CREATE FUNCTION pii_vault.token_differences(job uuid, most integer)
RETURNS TABLE (create_date date, event_id uuid, difference text)
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
SET work_mem = '64MB'
AS $$
DECLARE
    own constant pii_vault.rotation_jobs := pii_vault.filled_token_rotation(token_differences.job);
BEGIN
    RETURN QUERY EXECUTE format(
        'WITH both_slots AS (%1$s), pairs AS MATERIALIZED (
            SELECT ''ip'' AS field, t.old_ip AS old, t.new_ip AS new
            FROM both_slots AS t GROUP BY t.old_ip, t.new_ip
            UNION ALL
            SELECT ''device_id'', t.old_device_id, t.new_device_id
            FROM both_slots AS t GROUP BY t.old_device_id, t.new_device_id
        ), odd AS (
            SELECT field, old, new, field || ''_old_token_has_several'' AS difference FROM (
                SELECT *, count(*) OVER (PARTITION BY field, old) AS several FROM pairs
            ) AS p WHERE several > 1
            UNION ALL
            SELECT field, old, new, field || ''_new_token_has_several'' FROM (
                SELECT *, count(*) OVER (PARTITION BY field, new) AS several FROM pairs
            ) AS p WHERE several > 1
        )
        SELECT d.create_date, d.event_id, d.difference FROM (
            SELECT e.create_date, e.event_id, CASE WHEN e.token_key_%2$s IS NULL THEN ''no_new_token''
                WHEN e.token_key_%3$s IS NULL THEN ''no_old_token'' ELSE ''other_key'' END AS difference
            FROM pii_vault.login_events AS e
            WHERE e.token_key_%2$s IS DISTINCT FROM %5$L::uuid OR e.token_key_%3$s IS DISTINCT FROM %4$L::uuid
                AND (e.create_date, e.event_id) NOT IN (
                    SELECT f.day, f.id FROM pii_vault.rotation_failures AS f WHERE f.job = %7$L AND f.why = ''token_mismatch'')
            UNION ALL
            SELECT t.create_date, t.event_id, o.difference FROM odd AS o JOIN both_slots AS t
            ON CASE o.field WHEN ''ip'' THEN (t.old_ip, t.new_ip) = (o.old, o.new)
                ELSE (t.old_device_id, t.new_device_id) = (o.old, o.new) END
        ) AS d ORDER BY d.create_date, d.event_id, d.difference LIMIT %6$s',
        pii_vault.token_pairs_of(own), pii_vault.other_slot(own.old_slot), own.old_slot,
        own.old_keys[1], own.new_key, token_differences.most, own.id
    );
END
$$;
COMMENT ON FUNCTION pii_vault.token_differences IS
    'Rows for which token_report does not add up, with what is wrong; those that are listed as passed over among them';

-- Whoever has both tokens of a value knows that they are one: this goes out recorded, or not at all.
CREATE FUNCTION pii_vault.record_token_map(job uuid, reason text) RETURNS uuid
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
SET work_mem = '64MB'
SET client_min_messages = 'error'
SET debug_print_plan = off
AS $$
DECLARE
    own constant pii_vault.rotation_jobs := pii_vault.filled_token_rotation(record_token_map.job);
    ips bigint;
    device_ids bigint;
BEGIN
    PERFORM pii_vault.require_member('pii_vault_reseal');
    IF NOT (char_length(record_token_map.reason) BETWEEN 1 AND 1000 AND record_token_map.reason ~ '[^[:space:]]') THEN
        RAISE 'a reason has 1 to 1,000 characters' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Before the log is locked.
    EXECUTE 'SELECT count(*) FILTER (WHERE p.of_ip), count(*) FILTER (WHERE NOT p.of_ip) FROM (
            SELECT grouping(t.old_ip) = 0 AS of_ip FROM (' || pii_vault.token_pairs_of(own) || ') AS t
            GROUP BY GROUPING SETS ((t.old_ip, t.new_ip), (t.old_device_id, t.new_device_id))
        ) AS p'
    INTO ips, device_ids;
    RETURN pii_vault.record_handout(
        own, 'token_map', record_token_map.reason, jsonb_build_object('ips', ips, 'device_ids', device_ids), NULL, NULL
    );
END
$$;
COMMENT ON FUNCTION pii_vault.record_token_map IS
    'The first of record, arm_handout, fetch: records that the tokens of a rotation go out. Commit before you go on';

-- By the index on the slot, a page at a time, for an hour.
CREATE FUNCTION pii_vault.fetch_token_map(map uuid, field pii_vault.sealed_field, after_old text, after_new text)
RETURNS TABLE (old_token text, new_token text)
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashagg = off
AS $$
DECLARE
    map constant pii_vault.rotation_handouts := pii_vault.armed_handout(fetch_token_map.map, 'token_map');
    own constant pii_vault.rotation_jobs := pii_vault.filled_token_rotation(map.job);
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT e.%1$I::text, e.%2$I::text FROM pii_vault.login_events AS e
         WHERE e.%1$I >= $1 AND (e.%1$I, e.%2$I) > ($1, $2) AND e.%3$I = $3 AND e.%4$I = $4
             AND (e.create_date, e.event_id) NOT IN (
                 SELECT f.day, f.id FROM pii_vault.rotation_failures AS f WHERE f.job = $5 AND f.why = ''token_mismatch'')
         GROUP BY e.%1$I, e.%2$I ORDER BY e.%1$I, e.%2$I LIMIT 5000',
        field || '_token_' || own.old_slot, field || '_token_' || pii_vault.other_slot(own.old_slot),
        'token_key_' || own.old_slot, 'token_key_' || pii_vault.other_slot(own.old_slot)
    ) USING fetch_token_map.after_old, fetch_token_map.after_new, own.old_keys[1], own.new_key, own.id;
END
$$;
COMMENT ON FUNCTION pii_vault.fetch_token_map IS
    'The third of record, arm, fetch: 5,000 distinct pairs of old and new tokens of a field, beyond one';

REVOKE EXECUTE ON FUNCTION
    pii_vault.token_pairs_of, pii_vault.filled_token_rotation, pii_vault.token_report, pii_vault.token_differences,
    pii_vault.record_token_map, pii_vault.fetch_token_map
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    pii_vault.token_report, pii_vault.token_differences, pii_vault.record_token_map, pii_vault.fetch_token_map
    TO pii_vault_reseal;
