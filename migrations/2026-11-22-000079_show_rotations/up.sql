-- What there is to rotate, what became of rotations, and what one would take. No key bytes and no value leave here.

-- Counted by one scan of the events and one of the dead letters, which takes as long as they take to read; without rows,
-- of the keys alone. NULL: of every purpose. A key without a state: rows name it, and it is not there.
CREATE FUNCTION pii_vault.keys_with_rows(with_rows boolean, of pii_vault.key_purpose)
RETURNS TABLE (
    purpose pii_vault.key_purpose, id uuid, state pii_vault.key_state, slot pii_vault.token_slot, kms_key text,
    created_at timestamptz, wrapped_at timestamptz, row_count bigint, set_aside bigint
)
LANGUAGE sql STABLE
SET search_path = pii_vault, pg_temp
AS $$
    WITH events AS MATERIALIZED (
        SELECT e.data_key_id, e.token_key_a, e.token_key_b, count(*) AS row_count FROM pii_vault.login_events AS e
        WHERE keys_with_rows.with_rows AND keys_with_rows.of IS DISTINCT FROM 'dead-letter' GROUP BY 1, 2, 3
    ), named AS (
        SELECT 'data'::pii_vault.key_purpose AS purpose, coalesce(e.id, s.id) AS id, e.row_count, s.set_aside
        FROM (SELECT n.data_key_id AS id, sum(n.row_count) AS row_count FROM events AS n GROUP BY n.data_key_id) AS e
        FULL JOIN (
            SELECT a.data_key_id AS id, count(*) AS set_aside
            FROM pii_vault.set_aside_events AS a WHERE keys_with_rows.with_rows GROUP BY a.data_key_id
        ) AS s ON s.id = e.id
        UNION ALL
        SELECT 'token', t.id, sum(e.row_count), NULL
        FROM events AS e CROSS JOIN LATERAL (VALUES (e.token_key_a), (e.token_key_b)) AS t (id)
        WHERE t.id IS NOT NULL GROUP BY t.id
        UNION ALL
        SELECT 'dead-letter', l.dead_letter_key_id, count(*), NULL
        FROM pii_vault.dead_letters AS l
        WHERE keys_with_rows.with_rows AND coalesce(keys_with_rows.of, 'dead-letter') = 'dead-letter'
        GROUP BY l.dead_letter_key_id
    ), stored AS (
        SELECT 'data'::pii_vault.key_purpose AS purpose, k.id, k.state, NULL::pii_vault.token_slot AS slot, k.kms_key,
            k.created_at, k.wrapped_at FROM pii_vault.data_keys AS k
        UNION ALL
        SELECT 'token', k.id, k.state, k.slot, k.kms_key, k.created_at, k.wrapped_at FROM pii_vault.token_keys AS k
        UNION ALL
        SELECT 'dead-letter', k.id, k.state, NULL, k.kms_key, k.created_at, k.wrapped_at
        FROM pii_vault.dead_letter_keys AS k
    )
    SELECT purpose, id, s.state, s.slot, s.kms_key, s.created_at, s.wrapped_at, n.row_count::bigint, n.set_aside
    FROM stored AS s FULL JOIN named AS n USING (purpose, id)
    WHERE keys_with_rows.of IS NULL OR purpose = keys_with_rows.of
$$;

CREATE FUNCTION pii_vault.rotation_keys(with_rows boolean)
RETURNS TABLE (
    purpose pii_vault.key_purpose, state pii_vault.key_state, slot pii_vault.token_slot, kms_key text, key_count bigint,
    oldest timestamptz, newest timestamptz, longest_wrapped timestamptz, row_count bigint, unused bigint, set_aside bigint
)
LANGUAGE sql STABLE STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
    SELECT k.purpose, k.state, k.slot, k.kms_key, count(*), min(k.created_at), max(k.created_at), min(k.wrapped_at),
        coalesce(sum(k.row_count), 0)::bigint, count(*) FILTER (WHERE k.row_count IS NULL),
        coalesce(sum(k.set_aside), 0)::bigint
    FROM pii_vault.keys_with_rows(rotation_keys.with_rows, NULL) AS k
    GROUP BY k.purpose, k.state, k.slot, k.kms_key
    ORDER BY k.purpose, k.state, k.slot, k.kms_key
$$;
COMMENT ON FUNCTION pii_vault.rotation_keys IS
    'Keys by purpose, state and KMS key, with their ages, the rows that name them, how many no row names, and rows set aside';

-- One line a key, and never more than 100,001: there may be thousands. Those that are not there come first, then the newest.
CREATE FUNCTION pii_vault.list_rotation_keys(with_rows boolean, of pii_vault.key_purpose, most integer)
RETURNS TABLE (
    purpose pii_vault.key_purpose, id uuid, state pii_vault.key_state, slot pii_vault.token_slot, kms_key text,
    created_at timestamptz, wrapped_at timestamptz, row_count bigint, set_aside bigint
)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
    SELECT k.purpose, k.id, k.state, k.slot, k.kms_key, k.created_at, k.wrapped_at, coalesce(k.row_count, 0),
        coalesce(k.set_aside, 0)
    FROM pii_vault.keys_with_rows(list_rotation_keys.with_rows, list_rotation_keys.of) AS k
    ORDER BY k.purpose, k.created_at DESC NULLS FIRST, k.id
    LIMIT least(greatest(coalesce(list_rotation_keys.most, 0), 0), 100001)
$$;
COMMENT ON FUNCTION pii_vault.list_rotation_keys IS 'Keys of a purpose or of all, the newest first, with what is under each';

CREATE FUNCTION pii_vault.rotation_history(job uuid)
RETURNS TABLE (seq bigint, at timestamptz, actor text, step text, reason text)
LANGUAGE sql STABLE STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
    SELECT l.seq, l.at, l.actor, l.details ->> 'step', l.reason FROM pii_vault.audit_log AS l
    WHERE l.subject = rotation_history.job AND l.action = 'key_rotation' ORDER BY l.seq
$$;
COMMENT ON FUNCTION pii_vault.rotation_history IS 'What the audit log says of a job, and of nothing else';

-- How the rows of a rotation of the token key that is done stand to the two keys of it. The one given up is the new one where
-- it was rolled back. A key that is pending is the next rotation's.
CREATE FUNCTION pii_vault.count_given_up(job uuid)
RETURNS TABLE (row_count bigint, of_given_up bigint, without_kept bigint, of_other_keys bigint, not_opened bigint)
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own pii_vault.rotation_jobs;
    kept uuid;
    given_up uuid;
    known uuid[];
BEGIN
    PERFORM pii_vault.require_member('pii_vault_reseal');
    SELECT j.* INTO own FROM pii_vault.rotation_jobs AS j
    WHERE j.id = count_given_up.job AND j.kind = 'token-key' AND j.step = 'done';
    IF own.id IS NULL THEN
        RAISE 'no rotation of the token key that is done'
            USING ERRCODE = 'object_not_in_prerequisite_state', CONSTRAINT = 'not_done';
    END IF;
    kept := CASE WHEN own.rolled_back THEN own.old_keys[1] ELSE own.new_key END;
    given_up := CASE WHEN own.rolled_back THEN own.new_key ELSE own.old_keys[1] END;
    known := ARRAY[kept, given_up] || ARRAY(SELECT k.id FROM pii_vault.token_keys AS k WHERE k.state = 'pending');
    RETURN QUERY
    SELECT count(*), count(*) FILTER (WHERE given_up IN (e.token_key_a, e.token_key_b)),
        count(*) FILTER (
            WHERE CASE WHEN (own.old_slot = 'a') = own.rolled_back THEN e.token_key_a ELSE e.token_key_b END
                IS DISTINCT FROM kept
        ),
        count(*) FILTER (WHERE e.token_key_a <> ALL (known) OR e.token_key_b <> ALL (known)),
        (SELECT count(*) FROM pii_vault.rotation_failures AS f
         JOIN pii_vault.login_events AS n ON n.create_date = f.day AND n.event_id = f.id
         WHERE f.job = own.id AND f.why <> 'token_mismatch')
    FROM pii_vault.login_events AS e;
END
$$;
COMMENT ON FUNCTION pii_vault.count_given_up IS
    'Of a rotation of the token key that is done: rows that have tokens of the key given up, or none of the one kept';

-- NULL: any age. What is named and older is counted once.
CREATE FUNCTION pii_vault.plan_data_keys(
    max_age interval, named uuid[], OUT key_count bigint, OUT with_rows bigint, OUT row_count bigint
)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
BEGIN
    PERFORM pii_vault.require_member('pii_vault_reseal');
    -- As record_reseal has it: what is no key to leave is refused, and what is left already and has no rows is none either.
    IF plan_data_keys.max_age < interval '0' OR EXISTS (
        SELECT FROM unnest(plan_data_keys.named) AS n (id) LEFT JOIN pii_vault.data_keys AS k ON k.id = n.id
        WHERE k.state IS NULL OR k.state = 'retired'
    ) THEN
        RAISE 'these are no data keys to leave' USING ERRCODE = 'invalid_parameter_value', CONSTRAINT = 'malformed';
    END IF;
    SELECT count(*) FILTER (WHERE k.state = 'active' OR r.rows > 0), count(*) FILTER (WHERE r.rows > 0),
        coalesce(sum(r.rows), 0)
    INTO key_count, with_rows, row_count
    FROM pii_vault.data_keys AS k
    LEFT JOIN (SELECT e.data_key_id AS id, count(*) AS rows FROM pii_vault.login_events AS e GROUP BY e.data_key_id) AS r
        ON r.id = k.id
    WHERE k.state IN ('active', 'decrypt-only')
        AND (k.id = ANY (plan_data_keys.named) OR k.created_at < clock_timestamp() - plan_data_keys.max_age);
END
$$;
COMMENT ON FUNCTION pii_vault.plan_data_keys IS 'Data keys that a rotation would leave, and the rows under them';

-- Writes rows as they are and undoes it: what is left are as many dead tuples, which vacuum takes away. Locked rows are
-- passed over.
CREATE FUNCTION pii_vault.sample_rotation(most integer, OUT sampled bigint, OUT seconds double precision)
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    began timestamptz;
BEGIN
    PERFORM pii_vault.require_member('pii_vault_reseal');
    BEGIN
        began := clock_timestamp();
        WITH taken AS MATERIALIZED (
            SELECT e.create_date, e.event_id FROM pii_vault.login_events AS e
            ORDER BY e.create_date, e.event_id LIMIT least(greatest(sample_rotation.most, 0), 1000)
            FOR UPDATE SKIP LOCKED
        )
        UPDATE pii_vault.login_events AS e
        SET ip_ciphertext = e.ip_ciphertext, device_id_ciphertext = e.device_id_ciphertext, data_key_id = e.data_key_id
        FROM taken AS s WHERE e.create_date = s.create_date AND e.event_id = s.event_id;
        GET DIAGNOSTICS sampled = ROW_COUNT;
        seconds := extract(epoch FROM clock_timestamp() - began);
        RAISE 'a sample is undone' USING ERRCODE = 'PV001';
    EXCEPTION WHEN SQLSTATE 'PV001' THEN
        NULL;
    WHEN integrity_constraint_violation THEN
        -- Its own words hold the row.
        RAISE 'a row is not as it must be' USING ERRCODE = 'check_violation';
    END;
END
$$;
COMMENT ON FUNCTION pii_vault.sample_rotation IS 'How long the database takes to write rows anew; 1,000 at most. Nothing is changed';

REVOKE EXECUTE ON FUNCTION
    pii_vault.keys_with_rows, pii_vault.rotation_keys, pii_vault.list_rotation_keys, pii_vault.rotation_history,
    pii_vault.count_given_up, pii_vault.plan_data_keys, pii_vault.sample_rotation
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pii_vault.rotation_keys, pii_vault.list_rotation_keys, pii_vault.rotation_history
    TO pii_vault_rewrap, pii_vault_reseal, pii_vault_auditor;
GRANT EXECUTE ON FUNCTION pii_vault.count_given_up, pii_vault.plan_data_keys, pii_vault.sample_rotation TO pii_vault_reseal;
