-- Wrapped keys are wrapped anew by KMS, and a KMS key that is left goes out of use. No key is seen unwrapped.

ALTER TABLE pii_vault.rotation_jobs ADD COLUMN source_kms_keys text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN pii_vault.rotation_jobs.source_kms_keys IS 'kek: ARNs of the KMS keys that wrapped what was left when it was recorded';

CREATE TABLE pii_vault.retired_kms_keys (
    purpose pii_vault.key_purpose NOT NULL,
    kms_key text NOT NULL CHECK (kms_key <> ''),
    retired_at timestamptz NOT NULL,
    seq bigint NOT NULL UNIQUE,
    job uuid REFERENCES pii_vault.rotation_jobs,
    PRIMARY KEY (purpose, kms_key)
);
COMMENT ON TABLE pii_vault.retired_kms_keys IS 'KMS keys that wrap no key of a purpose any more, and may not again';
COMMENT ON COLUMN pii_vault.retired_kms_keys.kms_key IS 'Its ARN';
COMMENT ON COLUMN pii_vault.retired_kms_keys.seq IS 'The entry of the audit log that records it';
COMMENT ON COLUMN pii_vault.retired_kms_keys.job IS 'The last rotation that left it; NULL: none did';
GRANT SELECT ON pii_vault.retired_kms_keys TO pii_vault_rewrap, pii_vault_auditor;

CREATE TYPE pii_vault.kms_key_retirement AS ENUM (
    'retired', 'already_retired', 'unknown', 'in_use', 'rotation_unfinished', 'busy'
);
COMMENT ON TYPE pii_vault.kms_key_retirement IS
    'retired: it may wrap no key of the purpose any more; already_retired: nor could it before; '
    'unknown: it never wrapped one; in_use: it wraps some that are not retired; '
    'rotation_unfinished: a rotation to it is under way; busy: other transactions had the keys in hand for too long';

-- A rotation goes through the keys in this order.
CREATE INDEX data_keys_by_day ON pii_vault.data_keys (((created_at AT TIME ZONE 'UTC')::date), id);
CREATE INDEX dead_letter_keys_by_day ON pii_vault.dead_letter_keys (((created_at AT TIME ZONE 'UTC')::date), id);

-- Whoever stores a key, and whenever it was made: a process keeps its setting, and an alias may be moved back.
CREATE FUNCTION pii_vault.refuse_retired_kms_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
BEGIN
    -- An older snapshot would not show what was retired since.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'this needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    IF EXISTS (
        SELECT FROM pii_vault.retired_kms_keys AS r
        WHERE r.purpose = TG_ARGV[0]::pii_vault.key_purpose AND r.kms_key = NEW.kms_key
    ) THEN
        RAISE 'the KMS key that wraps it is retired' USING ERRCODE = 'check_violation', CONSTRAINT = 'kms_key_retired';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER kms_key_in_use BEFORE INSERT OR UPDATE ON pii_vault.data_keys
    FOR EACH ROW WHEN (NEW.state <> 'retired') EXECUTE FUNCTION pii_vault.refuse_retired_kms_key('data');
CREATE TRIGGER kms_key_in_use BEFORE INSERT OR UPDATE ON pii_vault.dead_letter_keys
    FOR EACH ROW WHEN (NEW.state <> 'retired') EXECUTE FUNCTION pii_vault.refuse_retired_kms_key('dead-letter');
CREATE TRIGGER kms_key_in_use BEFORE INSERT OR UPDATE ON pii_vault.token_keys
    FOR EACH ROW WHEN (NEW.state <> 'retired') EXECUTE FUNCTION pii_vault.refuse_retired_kms_key('token');

-- Where the keys of a purpose stand.
CREATE FUNCTION pii_vault.key_table(purpose pii_vault.key_purpose) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pii_vault, pg_temp
AS $$
    SELECT CASE key_table.purpose WHEN 'data' THEN 'pii_vault.data_keys' WHEN 'token' THEN 'pii_vault.token_keys'
        ELSE 'pii_vault.dead_letter_keys' END
$$;

-- What wraps the keys of a purpose, those that are retired left out.
CREATE FUNCTION pii_vault.wrapping_kms_keys(purpose pii_vault.key_purpose)
RETURNS TABLE (kms_key text, key_count bigint, wrapped_first timestamptz, wrapped_last timestamptz)
LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
BEGIN
    PERFORM pii_vault.require_member('pii_vault_rewrap');
    RETURN QUERY EXECUTE format(
        'SELECT k.kms_key, count(*), min(k.wrapped_at), max(k.wrapped_at) FROM %s AS k
         WHERE k.state <> ''retired'' GROUP BY k.kms_key ORDER BY k.kms_key',
        pii_vault.key_table(wrapping_kms_keys.purpose)
    );
END
$$;
COMMENT ON FUNCTION pii_vault.wrapping_kms_keys IS 'How many keys of a purpose each KMS key wraps, and since when';

-- For asking KMS what an alias is the name of, and whether keys unwrap. Who has them and no KMS has nothing.
CREATE FUNCTION pii_vault.sample_wrapped_keys(purpose pii_vault.key_purpose, most integer)
RETURNS TABLE (key_day date, key_id uuid, wrapped_key bytea, kms_key text)
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
BEGIN
    PERFORM pii_vault.require_member('pii_vault_rewrap');
    RETURN QUERY EXECUTE format(
        'SELECT (k.created_at AT TIME ZONE ''UTC'')::date, k.id, k.wrapped_key::bytea, k.kms_key FROM %s AS k
         WHERE k.state <> ''retired'' ORDER BY random() LIMIT $1',
        pii_vault.key_table(sample_wrapped_keys.purpose)
    ) USING least(sample_wrapped_keys.most, 10000);
END
$$;
COMMENT ON FUNCTION pii_vault.sample_wrapped_keys IS 'Wrapped keys of a purpose, chosen at random';

-- What a rotation would do, as a job that is not recorded: total 0 where that is nothing. Wrapped anew are keys that another
-- KMS key wraps, or with `newest` all; or, whatever wraps them, those that are named, and those that were wrapped longer ago
-- than that.
CREATE FUNCTION pii_vault.choose_rewrap(
    purpose pii_vault.key_purpose, target text, newest boolean, keys uuid[], max_age interval
)
RETURNS pii_vault.rotation_jobs
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    new_job pii_vault.rotation_jobs;
    source record;
    chooses constant boolean := coalesce(cardinality(choose_rewrap.keys), 0) > 0 OR choose_rewrap.max_age IS NOT NULL;
    unusable boolean;
BEGIN
    EXECUTE format(
        'SELECT EXISTS (SELECT FROM unnest($1) AS n (id) LEFT JOIN %s AS k ON k.id = n.id
             WHERE k.state IS NULL OR k.state = ''retired'')',
        pii_vault.key_table(choose_rewrap.purpose)
    ) INTO unusable USING choose_rewrap.keys;
    IF unusable OR choose_rewrap.max_age < interval '0' OR newest AND chooses THEN
        RAISE 'these are no keys to wrap anew' USING ERRCODE = 'invalid_parameter_value', CONSTRAINT = 'malformed';
    END IF;
    new_job.kind := 'kek';
    new_job.purpose := choose_rewrap.purpose;
    new_job.target_kms_key := target;
    new_job.wrapped_before := CASE WHEN newest OR chooses THEN clock_timestamp() END;
    IF chooses THEN
        EXECUTE format(
            'SELECT array_agg(k.id ORDER BY k.id) FROM %s AS k
             WHERE k.state <> ''retired'' AND (k.kms_key <> $4 OR k.wrapped_at < $3)
                 AND (k.id = ANY ($1) OR k.wrapped_at < $3 - $2)',
            pii_vault.key_table(choose_rewrap.purpose)
        ) INTO new_job.old_keys USING choose_rewrap.keys, choose_rewrap.max_age, new_job.wrapped_before, target;
        IF new_job.old_keys IS NULL THEN
            new_job.total := 0;
            RETURN new_job;
        END IF;
    END IF;
    SELECT s.relation, s.condition INTO source FROM pii_vault.rotation_source(new_job) AS s;
    EXECUTE format(
        'SELECT count(*), array_agg(DISTINCT e.kms_key) FROM %s AS e WHERE %s', source.relation, source.condition
    ) INTO new_job.total, new_job.source_kms_keys;
    RETURN new_job;
END
$$;

-- The first. NULL: nothing is left to do. Who comes second gets the job of who came first, where it is the same.
CREATE FUNCTION pii_vault.record_rewrap(
    purpose pii_vault.key_purpose, target text, newest boolean, reason text,
    keys uuid[] DEFAULT NULL, max_age interval DEFAULT NULL
)
RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    named constant uuid[] := coalesce(record_rewrap.keys, '{}');
    new_job pii_vault.rotation_jobs;
    unfinished pii_vault.rotation_jobs;
    job uuid;
    is_another_s boolean;
BEGIN
    -- As if it were STRICT, but for the choice.
    IF num_nulls(record_rewrap.purpose, target, newest, record_rewrap.reason) > 0 THEN
        RETURN NULL;
    END IF;
    PERFORM pii_vault.require_member('pii_vault_rewrap');
    PERFORM pii_vault.audit_lock();
    new_job := pii_vault.choose_rewrap(record_rewrap.purpose, target, newest, named, record_rewrap.max_age);
    new_job.reason := record_rewrap.reason;
    SELECT j.* INTO unfinished FROM pii_vault.rotation_jobs AS j
    WHERE j.kind = 'kek' AND j.purpose = record_rewrap.purpose AND j.ended_at IS NULL;
    IF unfinished.id IS NOT NULL THEN
        IF unfinished.target_kms_key = target
            -- Where nothing is chosen now, that is not the choice of all.
            AND (cardinality(named) > 0 OR record_rewrap.max_age IS NOT NULL) = (unfinished.old_keys <> '{}')
            AND unfinished.old_keys = coalesce(new_job.old_keys, '{}')
            AND (unfinished.wrapped_before IS NOT NULL OR NOT newest)
        THEN
            RETURN unfinished.id;
        END IF;
        RAISE 'another rotation of these keys is not finished'
            USING ERRCODE = 'object_in_use', CONSTRAINT = 'rotation_unfinished';
    END IF;
    IF EXISTS (
        SELECT FROM pii_vault.retired_kms_keys AS r WHERE r.purpose = record_rewrap.purpose AND r.kms_key = target
    ) THEN
        RAISE 'the KMS key is retired' USING ERRCODE = 'check_violation', CONSTRAINT = 'kms_key_retired';
    END IF;
    -- Who may unwrap keys of the one purpose could unwrap those of the other. A vault whose purposes share a KMS key
    -- already gains nothing by it.
    SELECT bool_or(k.purpose <> record_rewrap.purpose) AND NOT bool_or(k.purpose = record_rewrap.purpose) INTO is_another_s
    FROM (
        SELECT 'data'::pii_vault.key_purpose AS purpose FROM pii_vault.data_keys WHERE kms_key = target AND state <> 'retired'
        UNION ALL SELECT 'token' FROM pii_vault.token_keys WHERE kms_key = target AND state <> 'retired'
        UNION ALL SELECT 'dead-letter' FROM pii_vault.dead_letter_keys WHERE kms_key = target AND state <> 'retired'
        UNION ALL SELECT j.purpose FROM pii_vault.rotation_jobs AS j
        WHERE j.kind = 'kek' AND j.target_kms_key = target AND j.ended_at IS NULL
    ) AS k;
    IF is_another_s THEN
        RAISE 'the KMS key wraps keys of another purpose'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'kms_key_of_another_purpose';
    END IF;
    IF new_job.total = 0 THEN
        RETURN NULL;
    END IF;
    job := pii_vault.begin_rotation(new_job, jsonb_build_object(
        'source_kms_keys', new_job.source_kms_keys, 'newest_material', newest,
        'named', CASE WHEN cardinality(named) <= 1000 THEN to_jsonb(named) END,
        'max_age', extract(epoch FROM record_rewrap.max_age)::bigint
    ));
    UPDATE pii_vault.rotation_jobs AS j SET source_kms_keys = new_job.source_kms_keys WHERE j.id = job;
    RETURN job;
END
$$;
COMMENT ON FUNCTION pii_vault.record_rewrap IS
    'The first: records that the keys of a purpose are to be wrapped under a KMS key, by its ARN; newest: those that it '
    'wraps already as well; or those alone that are named, or were wrapped longer ago than max_age. Commit, then arm_rotation';

CREATE FUNCTION pii_vault.plan_rewrap(
    purpose pii_vault.key_purpose, target text, newest boolean, keys uuid[], max_age interval
)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
BEGIN
    PERFORM pii_vault.require_member('pii_vault_rewrap');
    RETURN (pii_vault.choose_rewrap(plan_rewrap.purpose, target, newest, plan_rewrap.keys, plan_rewrap.max_age)).total;
END
$$;
COMMENT ON FUNCTION pii_vault.plan_rewrap IS 'How many keys record_rewrap would have wrapped anew';

-- Those of a claimed page that are left, and were not found wanting.
CREATE FUNCTION pii_vault.fetch_rewrap(job uuid, after_day date, after_id uuid, through_day date, through_id uuid)
RETURNS TABLE (key_day date, key_id uuid, wrapped_key bytea, kms_key text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pii_vault, pg_temp
SET "DateStyle" = 'ISO, YMD'
AS $$
DECLARE
    own pii_vault.rotation_jobs;
    source record;
BEGIN
    IF num_nulls(job, through_day, through_id) > 0 THEN
        RETURN;
    END IF;
    own := pii_vault.working_rotation(fetch_rewrap.job, 'kek');
    IF own.ended_at IS NOT NULL THEN
        RETURN;
    END IF;
    SELECT s.relation, s.condition INTO source FROM pii_vault.rotation_source(own) AS s;
    RETURN QUERY EXECUTE format(
        'SELECT e.create_date, e.event_id, e.wrapped_key::bytea, e.kms_key FROM %s AS e
         WHERE e.create_date >= $1 AND (e.create_date, e.event_id) > ($1, $2) AND (e.create_date, e.event_id) <= ($3, $4)
             AND %s AND NOT EXISTS (
                 SELECT FROM pii_vault.rotation_failures AS f
                 WHERE f.job = $5 AND f.day = e.create_date AND f.id = e.event_id)
         ORDER BY e.create_date, e.event_id LIMIT 10000',
        source.relation, source.condition
    ) USING coalesce(after_day, '-infinity'), coalesce(after_id, '00000000-0000-0000-0000-000000000000'),
        through_day, through_id, own.id;
END
$$;
COMMENT ON FUNCTION pii_vault.fetch_rewrap IS 'After a claim: the wrapped keys of its page that are left';

-- In one transaction with settle_rotation. A key that somebody wrapped anew meanwhile stays as it is now: returns how
-- many were changed.
CREATE FUNCTION pii_vault.store_rewrap(job uuid, ids uuid[], old_wrapped bytea[], new_wrapped bytea[], kms_keys text[])
RETURNS bigint
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    own constant pii_vault.rotation_jobs := pii_vault.working_rotation(store_rewrap.job, 'kek');
    changed bigint;
BEGIN
    IF own.ended_at IS NOT NULL THEN
        RETURN 0;
    END IF;
    IF cardinality(old_wrapped) <> cardinality(ids) OR cardinality(new_wrapped) <> cardinality(ids)
        OR cardinality(kms_keys) <> cardinality(ids)
    THEN
        RAISE 'these are no keys that were wrapped anew' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF own.old_keys <> '{}' AND NOT store_rewrap.ids <@ own.old_keys THEN
        RAISE 'these are no keys of the rotation' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF EXISTS (SELECT FROM unnest(kms_keys) AS k (kms_key) WHERE k.kms_key IS DISTINCT FROM own.target_kms_key) THEN
        RAISE 'another KMS key wrapped them than the one that was recorded'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'kms_key_is_the_target';
    END IF;
    -- In the order in which others lock them. Batches that hold them go on: what wraps a key is no matter to them.
    EXECUTE format(
        'SELECT FROM %s AS k WHERE k.id = ANY ($1) ORDER BY k.id FOR NO KEY UPDATE', pii_vault.key_table(own.purpose)
    ) USING ids;
    EXECUTE format(
        'UPDATE %s AS k SET wrapped_key = n.new_wrapped, kms_key = $4, wrapped_at = greatest(clock_timestamp(), $5)
         FROM unnest($1, $2, $3) AS n (id, old_wrapped, new_wrapped)
         WHERE k.id = n.id AND k.wrapped_key::bytea = n.old_wrapped AND k.state <> ''retired''
             AND (k.kms_key <> $4 OR k.wrapped_at < $5)',
        pii_vault.key_table(own.purpose)
    ) USING ids, old_wrapped, new_wrapped, own.target_kms_key, own.wrapped_before;
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
    RAISE 'other transactions use these keys' USING ERRCODE = 'serialization_failure';
END
$$;
COMMENT ON FUNCTION pii_vault.store_rewrap IS
    'Stores keys that KMS wrapped anew, where they are still wrapped as they were; returns how many. Then settle_rotation';

-- Waits for transactions that have keys in hand, 2 s at most, and holds up those that come meanwhile.
CREATE FUNCTION pii_vault.retire_kms_key(
    purpose pii_vault.key_purpose, kms_key text, reason text,
    OUT outcome pii_vault.kms_key_retirement, OUT key_count bigint
)
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
    at timestamptz;
    is_known boolean;
    job uuid;
    seq bigint;
BEGIN
    PERFORM pii_vault.require_member('pii_vault_rewrap');
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'this needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    IF (char_length(reason) BETWEEN 1 AND 1000 AND reason ~ '[^[:space:]]') IS NOT TRUE THEN
        RAISE 'a reason has 1 to 1000 characters' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- A key that is being stored is there, or its transaction has not come to the table yet and will meet the refusal.
    BEGIN
        EXECUTE format(
            'LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', pii_vault.key_table(retire_kms_key.purpose)
        );
    EXCEPTION WHEN lock_not_available THEN
        outcome := 'busy';
        RETURN;
    END;
    -- Before it is looked for jobs: who records one has the log.
    at := pii_vault.audit_lock();
    EXECUTE format(
        'SELECT count(*) FILTER (WHERE k.state <> ''retired''), count(*) > 0 FROM %s AS k WHERE k.kms_key = $1',
        pii_vault.key_table(retire_kms_key.purpose)
    ) INTO key_count, is_known USING retire_kms_key.kms_key;
    SELECT j.id INTO job FROM pii_vault.rotation_jobs AS j
    WHERE j.kind = 'kek' AND j.purpose = retire_kms_key.purpose AND retire_kms_key.kms_key = ANY (j.source_kms_keys)
    ORDER BY j.seq DESC LIMIT 1;
    outcome := CASE
        WHEN EXISTS (
            SELECT FROM pii_vault.retired_kms_keys AS r
            WHERE r.purpose = retire_kms_key.purpose AND r.kms_key = retire_kms_key.kms_key
        ) THEN 'already_retired'
        WHEN key_count > 0 THEN 'in_use'
        WHEN EXISTS (
            SELECT FROM pii_vault.rotation_jobs AS j WHERE j.kind = 'kek' AND j.purpose = retire_kms_key.purpose
                AND j.ended_at IS NULL AND j.target_kms_key = retire_kms_key.kms_key
        ) THEN 'rotation_unfinished'
        WHEN NOT is_known AND job IS NULL THEN 'unknown'
        ELSE 'retired'
    END;
    IF outcome <> 'retired' THEN
        RETURN;
    END IF;
    seq := pii_vault.audit_append(
        at, pii_vault.audit_origin(), 'key_rotation', job, NULL, NULL, retire_kms_key.reason, NULL,
        json_build_object(
            'kind', 'kek', 'purpose', retire_kms_key.purpose, 'step', 'retire', 'kms_key', retire_kms_key.kms_key
        )
    );
    INSERT INTO pii_vault.retired_kms_keys (purpose, kms_key, retired_at, seq, job)
    VALUES (retire_kms_key.purpose, retire_kms_key.kms_key, at, seq, job);
END
$$;
COMMENT ON FUNCTION pii_vault.retire_kms_key IS
    'From now on no key of the purpose is stored that this KMS key wraps; refused while there is one that is not retired';

REVOKE EXECUTE ON FUNCTION
    pii_vault.refuse_retired_kms_key, pii_vault.key_table, pii_vault.wrapping_kms_keys, pii_vault.sample_wrapped_keys,
    pii_vault.choose_rewrap, pii_vault.record_rewrap, pii_vault.plan_rewrap, pii_vault.fetch_rewrap, pii_vault.store_rewrap,
    pii_vault.retire_kms_key
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    pii_vault.wrapping_kms_keys, pii_vault.sample_wrapped_keys, pii_vault.record_rewrap, pii_vault.plan_rewrap,
    pii_vault.fetch_rewrap, pii_vault.store_rewrap, pii_vault.retire_kms_key
    TO pii_vault_rewrap;
