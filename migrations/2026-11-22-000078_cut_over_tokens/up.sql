-- The tokens of a new key take the place of the old ones, or do not: cut-over, rollback, finish, retirement. All of it
-- is the administrator's, under the owner's role; the view alone is replaced under the administrator's own, who has
-- CREATE on schema public.

ALTER TABLE pii_vault.vault
    ADD COLUMN searched_slot pii_vault.token_slot,
    ADD CONSTRAINT searched_slot_is_the_other CHECK (searched_slot <> active_slot);
COMMENT ON COLUMN pii_vault.vault.searched_slot IS
    'The token slot that unmask searches beside the active one: the previous one, from a cut-over until it is finished';

CREATE TYPE pii_vault.slot_change AS ENUM (
    'done', 'locked_out', 'no_job', 'other_step', 'not_filled', 'not_indexed', 'view_shows_other', 'other_keys'
);
COMMENT ON TYPE pii_vault.slot_change IS
    'done: it is, now or since before; locked_out: another session was in the way, nothing was changed; '
    'no_job: none of this id; other_step: the job is not where this follows; '
    'not_filled: rows lack the slot, or nothing keeps them from lacking it; not_indexed: the slot has no whole index; '
    'view_shows_other: user_logins does not show the slot that it is to show; '
    'other_keys: the token keys are not in the states that the job left them in';

-- What the view shows, by the columns that it depends on. NULL: neither slot whole, or some of each.
CREATE FUNCTION pii_vault.shown_slot() RETURNS pii_vault.token_slot
LANGUAGE sql STABLE
SET search_path = pii_vault, pg_temp
AS $$
    SELECT CASE array_agg(DISTINCT a.attname::text ORDER BY a.attname::text)
        WHEN '{device_id_token_a,ip_token_a}' THEN 'a' WHEN '{device_id_token_b,ip_token_b}' THEN 'b'
    END::pii_vault.token_slot
    FROM pg_rewrite AS w
    JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
        AND d.refclassid = 'pg_class'::regclass AND d.refobjid = 'pii_vault.login_events'::regclass
    JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE w.ev_class = to_regclass('public.user_logins') AND a.attname ~ '^(ip|device_id)_token_'
$$;
COMMENT ON FUNCTION pii_vault.shown_slot IS 'The token slot that user_logins shows';

-- Under the login of the administrator: the owner has no CREATE on schema public, and the view stays the owner's.
-- Columns keep their names and types, so that views, statements and grants on it go on.
CREATE FUNCTION pii_vault.show_slot(slot pii_vault.token_slot) RETURNS boolean
LANGUAGE plpgsql STRICT
SET search_path = pii_vault, pg_temp
SET lock_timeout = '200ms'
AS $$
BEGIN
    PERFORM pii_vault.wait_shortly();
    IF pii_vault.shown_slot() = show_slot.slot THEN
        RETURN true;
    END IF;
    EXECUTE format(
        'CREATE OR REPLACE VIEW public.user_logins AS
         SELECT user_id, device_type, %I AS masked_ip, %I AS masked_device_id, locale, app_version, create_date, event_id
         FROM pii_vault.login_events',
        'ip_token_' || show_slot.slot, 'device_id_token_' || show_slot.slot);
    RETURN true;
EXCEPTION
    WHEN lock_not_available OR deadlock_detected THEN
        RETURN false;
END
$$;
COMMENT ON FUNCTION pii_vault.show_slot IS 'Makes user_logins show a token slot; false: a reader was in the way';

-- Rows that lack the tokens of a job's new key, some of them by name, and whether they were set aside.
CREATE FUNCTION pii_vault.unfilled_rows(job uuid, most integer)
RETURNS TABLE (row_count bigint, set_aside bigint, days date[], ids uuid[], why pii_vault.rotation_failure[])
LANGUAGE plpgsql STRICT
SET search_path = pii_vault, pg_temp
AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'WITH lacking AS (
             SELECT e.create_date, e.event_id, f.why, row_number() OVER (ORDER BY f.why IS NOT NULL, e.create_date, e.event_id) AS n
             FROM pii_vault.login_events AS e
             LEFT JOIN pii_vault.rotation_failures AS f ON f.job = $1 AND f.day = e.create_date AND f.id = e.event_id
             WHERE e.%I IS NULL
         )
         SELECT count(*), count(l.why), array_agg(l.create_date ORDER BY l.n) FILTER (WHERE l.n <= $2),
             array_agg(l.event_id ORDER BY l.n) FILTER (WHERE l.n <= $2), array_agg(l.why ORDER BY l.n) FILTER (WHERE l.n <= $2)
         FROM lacking AS l',
        (SELECT 'token_key_' || pii_vault.other_slot(j.old_slot) FROM pii_vault.rotation_jobs AS j WHERE j.id = unfilled_rows.job)
    ) USING unfilled_rows.job, unfilled_rows.most;
END
$$;
COMMENT ON FUNCTION pii_vault.unfilled_rows IS 'Rows without the tokens of the new key: how many, how many of them set aside, and the first';

-- A token that no value has: by it, rows that cannot be opened stay in the groups that their old tokens made.
CREATE FUNCTION pii_vault.stand_in(job uuid, field text, old_token text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pii_vault, pg_temp
AS $$
    SELECT translate(encode(sha256(
        pii_vault.audit_part('pii-vault/v1/stand-in') || pii_vault.audit_part(uuid_send(job)) || pii_vault.audit_part(field)
        || pii_vault.audit_part(old_token)
    ), 'base64'), '+/=', '-_')
$$;

-- Rows that were set aside get the new tokens of rows which have the same old ones, or stand-ins. Done anew, it finds
-- what has come since.
CREATE FUNCTION pii_vault.fill_unopened(job uuid) RETURNS bigint
LANGUAGE plpgsql STRICT
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own pii_vault.rotation_jobs;
    old_slot pii_vault.token_slot;
    new_slot pii_vault.token_slot;
    filled bigint;
BEGIN
    -- Keys before rows: whoever rolls back waits for this, or has been before it.
    PERFORM FROM pii_vault.rotation_jobs AS j JOIN pii_vault.token_keys AS k ON k.id = j.new_key AND k.state = 'pending'
    WHERE j.id = fill_unopened.job FOR SHARE OF k;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    SELECT j.* INTO own FROM pii_vault.rotation_jobs AS j WHERE j.id = fill_unopened.job;
    IF own.kind <> 'token-key' OR own.step <> 'filled' THEN
        RETURN 0;
    END IF;
    old_slot := own.old_slot;
    new_slot := pii_vault.other_slot(own.old_slot);
    EXECUTE format(
        'WITH chosen AS (
             SELECT e.create_date, e.event_id, e.%1$I AS ip, e.%2$I AS device_id,
                 e.%3$I AS new_ip, e.%4$I AS new_device_id FROM pii_vault.rotation_failures AS f
             JOIN pii_vault.login_events AS e ON e.create_date = f.day AND e.event_id = f.id
             WHERE f.job = $1 AND f.why <> ''token_mismatch'' ORDER BY 1, 2 FOR UPDATE OF e
         ), made AS (
             SELECT c.create_date, c.event_id,
                 coalesce(nullif(c.new_ip::text, pii_vault.stand_in($1, ''ip'', c.ip)), (SELECT x.%3$I FROM pii_vault.login_events AS x WHERE x.%1$I = c.ip AND x.%3$I IS NOT NULL
                     AND NOT EXISTS (SELECT FROM pii_vault.rotation_failures AS g
                         WHERE g.job = $1 AND g.day = x.create_date AND g.id = x.event_id) LIMIT 1),
                     pii_vault.stand_in($1, ''ip'', c.ip)) AS ip,
                 coalesce(nullif(c.new_device_id::text, pii_vault.stand_in($1, ''device_id'', c.device_id)), (SELECT x.%4$I FROM pii_vault.login_events AS x WHERE x.%2$I = c.device_id AND x.%4$I IS NOT NULL
                     AND NOT EXISTS (SELECT FROM pii_vault.rotation_failures AS g
                         WHERE g.job = $1 AND g.day = x.create_date AND g.id = x.event_id) LIMIT 1),
                     pii_vault.stand_in($1, ''device_id'', c.device_id)) AS device_id
             FROM chosen AS c
         )
         UPDATE pii_vault.login_events AS e SET %3$I = m.ip, %4$I = m.device_id, %5$I = $2
         FROM made AS m WHERE e.create_date = m.create_date AND e.event_id = m.event_id',
        'ip_token_' || old_slot, 'device_id_token_' || old_slot,
        'ip_token_' || new_slot, 'device_id_token_' || new_slot, 'token_key_' || new_slot
    ) USING own.id, own.new_key;
    GET DIAGNOSTICS filled = ROW_COUNT;
    RETURN filled;
END
$$;
COMMENT ON FUNCTION pii_vault.fill_unopened IS
    'Fills the new slot of rows that do not open, by rows of the same old token or by tokens that no value has';

-- From here on no row can lack the slot. ADD takes login_events from everybody for an instant; where it has to wait, the
-- others wait behind it.
CREATE FUNCTION pii_vault.keep_filled(slot pii_vault.token_slot) RETURNS pii_vault.slot_change
LANGUAGE plpgsql STRICT
SET search_path = pii_vault, pg_temp
SET lock_timeout = '200ms'
AS $$
BEGIN
    PERFORM pii_vault.wait_shortly();
    PERFORM FROM pii_vault.rotation_jobs AS j
    WHERE j.kind = 'token-key' AND j.step = 'filled' AND j.old_slot <> keep_filled.slot FOR SHARE;
    IF NOT FOUND THEN
        RETURN 'other_step';
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_constraint WHERE conrelid = 'pii_vault.login_events'::regclass AND conname = 'slot_' || keep_filled.slot || '_is_filled'
    ) THEN
        EXECUTE format('ALTER TABLE pii_vault.login_events ADD CONSTRAINT %I CHECK (%I IS NOT NULL) NOT VALID',
            'slot_' || keep_filled.slot || '_is_filled', 'token_key_' || keep_filled.slot);
    END IF;
    RETURN 'done';
EXCEPTION
    WHEN lock_not_available OR deadlock_detected THEN
        RETURN 'locked_out';
END
$$;
COMMENT ON FUNCTION pii_vault.keep_filled IS 'Keeps new rows from lacking the tokens of a slot';

-- The other way around, before a rotation is rolled back: from then on ingestion leaves the slot empty, which the rule
-- would take for a fault.
CREATE FUNCTION pii_vault.let_unfilled(slot pii_vault.token_slot) RETURNS pii_vault.slot_change
LANGUAGE plpgsql STRICT
SET search_path = pii_vault, pg_temp
SET lock_timeout = '200ms'
AS $$
DECLARE
    name constant text := 'slot_' || let_unfilled.slot || '_is_filled';
BEGIN
    PERFORM pii_vault.wait_shortly();
    IF EXISTS (SELECT FROM pg_constraint WHERE conrelid = 'pii_vault.login_events'::regclass AND conname = name) THEN
        EXECUTE format('ALTER TABLE pii_vault.login_events DROP CONSTRAINT %I', name);
    END IF;
    RETURN 'done';
EXCEPTION
    WHEN lock_not_available OR deadlock_detected THEN
        RETURN 'locked_out';
END
$$;
COMMENT ON FUNCTION pii_vault.let_unfilled IS 'Lets new rows lack the tokens of a slot again';

-- The next partition whose rows have not been looked at, each in a transaction of its own; the whole table last, which is
-- quick then. Nobody waits for it but a vacuum.
CREATE FUNCTION pii_vault.verify_filled(slot pii_vault.token_slot)
RETURNS TABLE (outcome pii_vault.slot_change, verified bigint, total bigint)
LANGUAGE plpgsql STRICT
SET search_path = pii_vault, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
    name constant text := 'slot_' || verify_filled.slot || '_is_filled';
    next regclass;
BEGIN
    SELECT count(*) FILTER (WHERE c.convalidated), count(*),
        (array_agg(c.conrelid ORDER BY c.conrelid = 'pii_vault.login_events'::regclass, c.conrelid) FILTER (WHERE NOT c.convalidated))[1]
        INTO verified, total, next
        FROM pg_constraint AS c
        WHERE c.contype = 'c' AND c.conname = name AND (c.conrelid = 'pii_vault.login_events'::regclass OR c.conrelid IN (
            SELECT h.inhrelid FROM pg_inherits AS h WHERE h.inhparent = 'pii_vault.login_events'::regclass));
    outcome := CASE WHEN total = 0 THEN 'not_filled' ELSE 'done' END;
    IF next IS NOT NULL THEN
        EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT %I', next, name);
        verified := verified + 1;
    END IF;
    RETURN NEXT;
EXCEPTION
    WHEN check_violation THEN
        outcome := 'not_filled';
        RETURN NEXT;
    WHEN lock_not_available OR deadlock_detected THEN
        outcome := 'locked_out';
        RETURN NEXT;
END
$$;
COMMENT ON FUNCTION pii_vault.verify_filled IS 'Looks whether the rows of one more partition all have the tokens of a slot';

-- What is to be done next for the indexes of a slot, as a statement for the administrator's connection: concurrent ones
-- run in no function. NULL: nothing, both are whole. What an interrupted build left is dropped and built anew.
CREATE FUNCTION pii_vault.next_index(slot pii_vault.token_slot)
RETURNS TABLE (statement text, built bigint, total bigint)
LANGUAGE sql STABLE STRICT
SET search_path = pii_vault, pg_temp
AS $$
    WITH columns AS (
        SELECT c.name, a.attnum FROM unnest(ARRAY['ip_token_', 'device_id_token_']) AS p (prefix)
        CROSS JOIN LATERAL (SELECT p.prefix || next_index.slot AS name) AS c
        JOIN pg_attribute AS a ON a.attrelid = 'pii_vault.login_events'::regclass AND a.attname = c.name
    ), parents AS (
        SELECT c.name, i.indexrelid, i.indisvalid, x.relname AS index_name FROM columns AS c
        LEFT JOIN pg_index AS i ON i.indrelid = 'pii_vault.login_events'::regclass AND i.indkey::text = c.attnum::text
        LEFT JOIN pg_class AS x ON x.oid = i.indexrelid
    ), found AS (
        SELECT p.name, p.indexrelid AS parent, p.index_name AS parent_name, h.inhrelid AS part, t.relname AS part_name,
            i.indexrelid, i.indisvalid, x.relname AS index_name, ih.inhparent AS attached_to
        FROM parents AS p
        CROSS JOIN pg_inherits AS h
        JOIN pg_class AS t ON t.oid = h.inhrelid
        JOIN pg_attribute AS a ON a.attrelid = h.inhrelid AND a.attname = p.name
        LEFT JOIN pg_index AS i ON i.indrelid = h.inhrelid AND i.indkey::text = a.attnum::text
        LEFT JOIN pg_class AS x ON x.oid = i.indexrelid
        LEFT JOIN pg_inherits AS ih ON ih.inhrelid = i.indexrelid
        WHERE h.inhparent = 'pii_vault.login_events'::regclass AND NOT h.inhdetachpending
    ), steps AS (
        SELECT 1 AS rank, p.name, 0::oid AS part,
            format('CREATE INDEX %I ON ONLY pii_vault.login_events (%I)', 'login_events_' || p.name, p.name) AS statement
        FROM parents AS p WHERE p.indexrelid IS NULL
        UNION ALL
        SELECT 2, f.name, f.part, format('DROP INDEX CONCURRENTLY pii_vault.%I', f.index_name)
        FROM found AS f WHERE NOT f.indisvalid AND f.attached_to IS NULL
        UNION ALL
        SELECT 3, f.name, f.part, format('CREATE INDEX CONCURRENTLY ON pii_vault.%I (%I)', f.part_name, f.name)
        FROM found AS f WHERE f.indexrelid IS NULL
        UNION ALL
        SELECT 4, f.name, f.part, format('ALTER INDEX pii_vault.%I ATTACH PARTITION pii_vault.%I', f.parent_name, f.index_name)
        FROM found AS f WHERE f.indisvalid AND f.attached_to IS NULL AND f.parent IS NOT NULL
            AND NOT EXISTS (SELECT FROM found AS g WHERE g.name = f.name AND g.part = f.part AND g.attached_to IS NOT NULL)
        UNION ALL
        -- All have theirs, and it does not know: the last one to lack it was dropped.
        SELECT 5, p.name, 0, format('DROP INDEX pii_vault.%I', p.index_name)
        FROM parents AS p WHERE NOT p.indisvalid
    )
    SELECT (SELECT s.statement FROM steps AS s ORDER BY s.rank, s.name, s.part LIMIT 1),
        (SELECT count(*) FROM found AS f WHERE f.attached_to IS NOT NULL),
        (SELECT count(DISTINCT (f.name, f.part)) FROM found AS f)
$$;
COMMENT ON FUNCTION pii_vault.next_index IS 'The statement that comes next in indexing a slot; NULL: it is indexed';

-- Both keys, and the job: for who changes their places. The lock on the table is one wait in one queue, behind the
-- batches in flight; FOR UPDATE alone could wait for ever, as each new batch shares the lock with those before it.
CREATE FUNCTION pii_vault.lock_token_keys(job uuid) RETURNS pii_vault.rotation_jobs
LANGUAGE plpgsql STRICT
SET search_path = pii_vault, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
    own pii_vault.rotation_jobs;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'this needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    LOCK TABLE pii_vault.token_keys IN EXCLUSIVE MODE;
    PERFORM FROM pii_vault.token_keys FOR UPDATE;
    PERFORM FROM pii_vault.rotation_jobs AS j WHERE j.id = lock_token_keys.job FOR UPDATE;
    -- Nobody is to wait 5 s for the log behind these locks.
    LOCK TABLE pii_vault.audit_turn IN SHARE UPDATE EXCLUSIVE MODE;
    SELECT j.* INTO own FROM pii_vault.rotation_jobs AS j WHERE j.id = lock_token_keys.job AND j.kind = 'token-key';
    RETURN own;
END
$$;

CREATE FUNCTION pii_vault.key_is(key uuid, slot pii_vault.token_slot, state pii_vault.key_state) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pii_vault, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM pii_vault.token_keys AS k WHERE k.id = key_is.key AND k.slot = key_is.slot AND k.state = key_is.state)
$$;

CREATE FUNCTION pii_vault.note_slots(own pii_vault.rotation_jobs, step text, reason text, details jsonb) RETURNS void
LANGUAGE sql
SET search_path = pii_vault, pg_temp
AS $$
    SELECT pii_vault.note_rotation(own, step, reason, jsonb_build_object(
        'old_keys', own.old_keys, 'new_key', own.new_key, 'old_slot', own.old_slot
    ) || details)
$$;

-- Rows lack tokens that a pass had found in all of them: put in by other hands. The job goes back to filling.
CREATE FUNCTION pii_vault.fill_again(job uuid) RETURNS void
LANGUAGE plpgsql STRICT
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own pii_vault.rotation_jobs;
BEGIN
    UPDATE pii_vault.rotation_jobs AS j SET step = 'work', pass = j.pass + 1, cursor_day = NULL, cursor_id = NULL
    WHERE j.id = fill_again.job AND j.kind = 'token-key' AND j.step = 'filled'
    RETURNING j.* INTO own;
    IF own.id IS NOT NULL THEN
        PERFORM pii_vault.note_slots(own, 'fill_again', NULL, '{}');
    END IF;
END
$$;
COMMENT ON FUNCTION pii_vault.fill_again IS 'Sends a job back to filling';

-- In the transaction that made the view show the new slot.
CREATE FUNCTION pii_vault.cut_over(job uuid, reason text, details jsonb) RETURNS pii_vault.slot_change
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own pii_vault.rotation_jobs;
    new_slot pii_vault.token_slot;
BEGIN
    own := pii_vault.lock_token_keys(cut_over.job);
    new_slot := pii_vault.other_slot(own.old_slot);
    IF own.id IS NULL THEN
        RETURN 'no_job';
    ELSIF own.step = 'cut_over' THEN
        RETURN 'done';
    ELSIF own.step <> 'filled' THEN
        RETURN 'other_step';
    ELSIF pii_vault.shown_slot() IS DISTINCT FROM new_slot THEN
        RETURN 'view_shows_other';
    ELSIF NOT EXISTS (
        SELECT FROM pg_constraint AS c WHERE c.conrelid = 'pii_vault.login_events'::regclass AND c.convalidated
            AND c.conname = 'slot_' || new_slot || '_is_filled'
    ) THEN
        RETURN 'not_filled';
    ELSIF (SELECT i.statement FROM pii_vault.next_index(new_slot) AS i) IS NOT NULL THEN
        RETURN 'not_indexed';
    ELSIF NOT (pii_vault.key_is(own.old_keys[1], own.old_slot, 'active') AND pii_vault.key_is(own.new_key, new_slot, 'pending')) THEN
        RETURN 'other_keys';
    END IF;
    UPDATE pii_vault.token_keys AS k
    SET state = CASE k.id WHEN own.new_key THEN 'active' ELSE 'pending' END::pii_vault.key_state
    WHERE k.id IN (own.new_key, own.old_keys[1]);
    UPDATE pii_vault.vault SET active_slot = new_slot, searched_slot = own.old_slot;
    UPDATE pii_vault.rotation_jobs AS j SET step = 'cut_over' WHERE j.id = own.id;
    PERFORM pii_vault.note_slots(own, 'cut_over', left(cut_over.reason, 1000), cut_over.details);
    RETURN 'done';
EXCEPTION
    WHEN lock_not_available OR deadlock_detected THEN
        RETURN 'locked_out';
END
$$;
COMMENT ON FUNCTION pii_vault.cut_over IS
    'The new token key becomes the active one; the old one is pending, so that both slots stay filled. With show_slot, in one transaction';

-- Where the view shows the new tokens already: in the transaction that made it show the old ones.
CREATE FUNCTION pii_vault.roll_back(job uuid, reason text) RETURNS pii_vault.slot_change
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own pii_vault.rotation_jobs;
BEGIN
    own := pii_vault.lock_token_keys(roll_back.job);
    IF own.id IS NULL THEN
        RETURN 'no_job';
    ELSIF own.step = 'emptying' AND own.rolled_back THEN
        RETURN 'done';
    ELSIF own.step NOT IN ('work', 'filled', 'cut_over') THEN
        RETURN 'other_step';
    ELSIF pii_vault.shown_slot() IS DISTINCT FROM own.old_slot THEN
        RETURN 'view_shows_other';
    ELSIF EXISTS (
        SELECT FROM pg_constraint AS c WHERE c.conrelid = 'pii_vault.login_events'::regclass
            AND c.conname = 'slot_' || pii_vault.other_slot(own.old_slot) || '_is_filled'
    ) THEN
        -- Put there anew since let_unfilled took it away: ingestion is about to leave the slot empty.
        RETURN 'locked_out';
    END IF;
    UPDATE pii_vault.token_keys AS k
    SET state = CASE k.id WHEN own.new_key THEN 'decrypt-only' ELSE 'active' END::pii_vault.key_state
    WHERE k.id IN (own.new_key, own.old_keys[1]);
    UPDATE pii_vault.vault SET active_slot = own.old_slot, searched_slot = NULL;
    UPDATE pii_vault.rotation_jobs AS j
    SET step = 'emptying', rolled_back = true, paused = false, cursor_day = NULL, cursor_id = NULL, changed = 0
    WHERE j.id = own.id;
    DELETE FROM pii_vault.rotation_runners AS r WHERE r.job = own.id;
    PERFORM pii_vault.note_slots(own, 'roll_back', left(roll_back.reason, 1000), jsonb_build_object('from', own.step));
    RETURN 'done';
EXCEPTION
    WHEN lock_not_available OR deadlock_detected THEN
        RETURN 'locked_out';
END
$$;
COMMENT ON FUNCTION pii_vault.roll_back IS 'The old token key stays, or becomes the active one again; the slot of the new one is to be emptied';

CREATE FUNCTION pii_vault.finish_rotation(job uuid, reason text) RETURNS pii_vault.slot_change
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own pii_vault.rotation_jobs;
BEGIN
    own := pii_vault.lock_token_keys(finish_rotation.job);
    IF own.id IS NULL THEN
        RETURN 'no_job';
    ELSIF own.step = 'emptying' AND NOT own.rolled_back THEN
        RETURN 'done';
    ELSIF own.step <> 'cut_over' THEN
        RETURN 'other_step';
    ELSIF pii_vault.shown_slot() IS DISTINCT FROM pii_vault.other_slot(own.old_slot) THEN
        RETURN 'view_shows_other';
    ELSIF NOT (pii_vault.key_is(own.old_keys[1], own.old_slot, 'pending')
        AND pii_vault.key_is(own.new_key, pii_vault.other_slot(own.old_slot), 'active'))
    THEN
        RETURN 'other_keys';
    END IF;
    UPDATE pii_vault.token_keys AS k SET state = 'decrypt-only' WHERE k.id = own.old_keys[1];
    UPDATE pii_vault.vault SET searched_slot = NULL;
    UPDATE pii_vault.rotation_jobs AS j
    SET step = 'emptying', paused = false, cursor_day = NULL, cursor_id = NULL, changed = 0 WHERE j.id = own.id;
    DELETE FROM pii_vault.rotation_runners AS r WHERE r.job = own.id;
    PERFORM pii_vault.note_slots(own, 'finish', left(finish_rotation.reason, 1000), '{}');
    RETURN 'done';
EXCEPTION
    WHEN lock_not_available OR deadlock_detected THEN
        RETURN 'locked_out';
END
$$;
COMMENT ON FUNCTION pii_vault.finish_rotation IS 'The old token key makes no tokens any more; its slot is to be emptied. There is no way back';

-- Who empties a slot is told as well that it is empty.
CREATE OR REPLACE FUNCTION pii_vault.rotation_role(own pii_vault.rotation_jobs) RETURNS name
LANGUAGE sql IMMUTABLE
SET search_path = pii_vault, pg_temp
AS $$
    SELECT CASE
        WHEN own.kind = 'token-key' AND own.step IN ('emptying', 'done') THEN 'pii_vault_owner'
        WHEN own.kind = 'kek' THEN 'pii_vault_rewrap'
        ELSE 'pii_vault_reseal'
    END::name
$$;

-- Before a slot is emptied: the rule that keeps the other one filled goes with the rotation, and without indexes on the
-- slot, emptying it is a HOT update.
CREATE FUNCTION pii_vault.release_slot(job uuid) RETURNS pii_vault.slot_change
LANGUAGE plpgsql STRICT
SET search_path = pii_vault, pg_temp
SET lock_timeout = '200ms'
AS $$
DECLARE
    own pii_vault.rotation_jobs;
    slot pii_vault.token_slot;
    name text;
BEGIN
    PERFORM pii_vault.wait_shortly();
    SELECT j.* INTO own FROM pii_vault.rotation_jobs AS j WHERE j.id = release_slot.job AND j.kind = 'token-key';
    IF own.id IS NULL THEN
        RETURN 'no_job';
    ELSIF own.step <> 'emptying' THEN
        RETURN 'other_step';
    END IF;
    slot := CASE WHEN own.rolled_back THEN pii_vault.other_slot(own.old_slot) ELSE own.old_slot END;
    IF pii_vault.let_unfilled(pii_vault.other_slot(own.old_slot)) <> 'done' THEN
        RETURN 'locked_out';
    END IF;
    -- Those of the whole table first, which take those of its partitions along; then what an interrupted build left.
    FOR name IN
        SELECT i.indexrelid::regclass::text FROM pg_index AS i
        JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum::text = i.indkey::text
        WHERE a.attname IN ('ip_token_' || slot, 'device_id_token_' || slot)
            AND (i.indrelid = 'pii_vault.login_events'::regclass OR i.indrelid IN (
                SELECT h.inhrelid FROM pg_inherits AS h WHERE h.inhparent = 'pii_vault.login_events'::regclass))
        ORDER BY i.indrelid <> 'pii_vault.login_events'::regclass, i.indexrelid
    LOOP
        EXECUTE format('DROP INDEX IF EXISTS %s', name);
    END LOOP;
    RETURN 'done';
EXCEPTION
    WHEN lock_not_available OR deadlock_detected THEN
        RETURN 'locked_out';
END
$$;
COMMENT ON FUNCTION pii_vault.release_slot IS 'Takes the rule and the indexes away that a slot which is to be emptied had';

-- The fourth of record, arm, claim, settle. Row locks in the order of the primary key, as everywhere; by the primary key
-- both times, whatever the planner thinks of its two conditions.
CREATE FUNCTION pii_vault.empty_slot(
    job uuid, runner uuid, after_day date, after_id uuid, through_day date, through_id uuid
)
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET max_parallel_workers_per_gather = 0
SET jit = off
SET lock_timeout = '5s'
AS $$
DECLARE
    own constant pii_vault.rotation_jobs := pii_vault.working_rotation(empty_slot.job, 'token-key');
    beyond constant date := coalesce(empty_slot.after_day, '-infinity');
    beyond_id constant uuid := coalesce(empty_slot.after_id, '00000000-0000-0000-0000-000000000000');
    slot pii_vault.token_slot;
    page text;
    emptied bigint;
BEGIN
    -- Another runner found nothing left, this page included.
    IF own.step = 'done' THEN
        RETURN 0;
    ELSIF own.step <> 'emptying' THEN
        RAISE 'the rotation empties no slot' USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'unknown_rotation';
    END IF;
    slot := CASE WHEN own.rolled_back THEN pii_vault.other_slot(own.old_slot) ELSE own.old_slot END;
    -- Which keys are in use is read twice: while this waits for rows, this rotation may end, and the next one fill them. The
    -- second statement sees the key of whatever it finds in the rows that the first one has locked.
    page := 'WHERE e.create_date >= $1 AND e.create_date <= $3 AND (e.create_date, e.event_id) > ($1, $2)
             AND (e.create_date, e.event_id) <= ($3, $4) AND '
        || (SELECT s.condition FROM pii_vault.rotation_source(own) AS s);
    EXECUTE 'SELECT count(*) FROM (
            SELECT FROM pii_vault.login_events AS e ' || page || ' ORDER BY e.create_date, e.event_id FOR UPDATE
        ) AS locked'
        INTO emptied USING beyond, beyond_id, empty_slot.through_day, empty_slot.through_id;
    EXECUTE format('UPDATE pii_vault.login_events AS e SET %I = NULL, %I = NULL, %I = NULL ',
        'ip_token_' || slot, 'device_id_token_' || slot, 'token_key_' || slot) || page
        USING beyond, beyond_id, empty_slot.through_day, empty_slot.through_id;
    GET DIAGNOSTICS emptied = ROW_COUNT;
    PERFORM pii_vault.settle_rotation(own.id, empty_slot.runner, emptied, '{}', '{}', '{}', '{}');
    RETURN emptied;
END
$$;
COMMENT ON FUNCTION pii_vault.empty_slot IS 'Empties the slot that is out of use in the rows of a page, and settles it';

CREATE TYPE pii_vault.token_key_retirement AS ENUM ('retired', 'retired_before', 'unknown', 'in_use', 'rows_left', 'locked_out');
COMMENT ON TYPE pii_vault.token_key_retirement IS
    'retired: now; retired_before: since before; unknown: no token key has this id; in_use: it is pending or active; '
    'rows_left: rows have tokens of it; locked_out: another session was in the way';

-- A key that is decrypt-only is in no batch: it became so under a lock that batches in flight were waited for with.
CREATE FUNCTION pii_vault.retire_token_key(key uuid, reason text) RETURNS pii_vault.token_key_retirement
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
    own pii_vault.token_keys;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'this needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    -- It does not come back from decrypt-only, and one that is in use is not waited for.
    IF EXISTS (
        SELECT FROM pii_vault.token_keys AS k WHERE k.id = retire_token_key.key AND k.state IN ('pending', 'active')
    ) THEN
        RETURN 'in_use';
    END IF;
    PERFORM FROM pii_vault.token_keys AS k WHERE k.id = retire_token_key.key FOR UPDATE;
    SELECT k.* INTO own FROM pii_vault.token_keys AS k WHERE k.id = retire_token_key.key;
    IF own.id IS NULL THEN
        RETURN 'unknown';
    ELSIF own.state = 'retired' THEN
        RETURN 'retired_before';
    ELSIF own.state <> 'decrypt-only' THEN
        RETURN 'in_use';
    ELSIF EXISTS (SELECT FROM pii_vault.login_events AS e WHERE e.token_key_a = own.id OR e.token_key_b = own.id) THEN
        RETURN 'rows_left';
    END IF;
    UPDATE pii_vault.token_keys AS k SET state = 'retired' WHERE k.id = own.id;
    PERFORM pii_vault.audit_append(
        pii_vault.audit_lock(), pii_vault.audit_origin(), 'key_rotation', own.id, NULL, NULL,
        left(retire_token_key.reason, 1000), NULL,
        json_build_object('kind', 'token-key', 'purpose', 'token', 'step', 'retire', 'keys', ARRAY[own.id])
    );
    RETURN 'retired';
EXCEPTION
    WHEN lock_not_available OR deadlock_detected THEN
        RETURN 'locked_out';
END
$$;
COMMENT ON FUNCTION pii_vault.retire_token_key IS 'Takes a token key out of all use, unless a row has tokens of it';

REVOKE EXECUTE ON FUNCTION
    pii_vault.shown_slot, pii_vault.show_slot, pii_vault.unfilled_rows, pii_vault.stand_in,
    pii_vault.fill_unopened, pii_vault.keep_filled, pii_vault.let_unfilled, pii_vault.verify_filled, pii_vault.next_index,
    pii_vault.lock_token_keys, pii_vault.key_is, pii_vault.note_slots, pii_vault.fill_again, pii_vault.cut_over,
    pii_vault.roll_back, pii_vault.finish_rotation, pii_vault.release_slot, pii_vault.empty_slot, pii_vault.retire_token_key
    FROM PUBLIC;

-- Tokens of the previous key find what they found, for as long as its slot is whole: from a cut-over until it is finished.
DROP FUNCTION pii_vault.select_events;
CREATE FUNCTION pii_vault.select_events(
    slot pii_vault.token_slot, previous pii_vault.token_slot, user_ids text[], masked_ips text[], masked_device_ids text[],
    since date, until date
)
RETURNS TABLE (create_date date, event_id uuid)
LANGUAGE sql STABLE
AS $$
    SELECT e.create_date, e.event_id
    FROM pii_vault.login_events AS e
    WHERE (user_ids = '{}' OR e.user_id = ANY (user_ids))
        AND (masked_ips = '{}'
            OR CASE slot WHEN 'a' THEN e.ip_token_a ELSE e.ip_token_b END = ANY (masked_ips)
            OR CASE previous WHEN 'a' THEN e.ip_token_a WHEN 'b' THEN e.ip_token_b END = ANY (masked_ips))
        AND (masked_device_ids = '{}'
            OR CASE slot WHEN 'a' THEN e.device_id_token_a ELSE e.device_id_token_b END = ANY (masked_device_ids)
            OR CASE previous WHEN 'a' THEN e.device_id_token_a WHEN 'b' THEN e.device_id_token_b END = ANY (masked_device_ids))
        AND (since IS NULL OR e.create_date >= since)
        AND (until IS NULL OR e.create_date <= until)
$$;
REVOKE EXECUTE ON FUNCTION pii_vault.select_events FROM PUBLIC;

-- As before, and with the previous slot.
CREATE OR REPLACE FUNCTION pii_vault.record_unmask(
    fields pii_vault.sealed_field[], event_ids uuid[], user_ids text[], masked_ips text[], masked_device_ids text[],
    since date, until date, reason text, case_id text, named_grant uuid, dry_run boolean
)
RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pii_vault, pg_temp
SET "TimeZone" = 'UTC'
SET "DateStyle" = 'ISO, YMD'
SET plan_cache_mode = force_custom_plan
-- A plan that the session may see would hold the rows and the decision, before they are recorded.
SET client_min_messages = 'error'
SET debug_print_plan = off
AS $$
DECLARE
    most constant integer := 100000;
    receipt constant uuid := gen_random_uuid();
    dry constant boolean := coalesce(record_unmask.dry_run, false);
    asked constant pii_vault.sealed_field[] := pii_vault.distinct_fields(record_unmask.fields);
    -- Whatever the dimensions and bounds, and where it is NULL: a plain list.
    events constant uuid[] := ARRAY(SELECT v FROM unnest(record_unmask.event_ids) AS v);
    users constant text[] := ARRAY(SELECT v FROM unnest(record_unmask.user_ids) AS v);
    ips constant text[] := ARRAY(SELECT v FROM unnest(record_unmask.masked_ips) AS v);
    devices constant text[] := ARRAY(SELECT v FROM unnest(record_unmask.masked_device_ids) AS v);
    selectors constant integer := cardinality(events) + cardinality(users) + cardinality(ips) + cardinality(devices);
    -- No user id or token is longer. Kept in the log, it could be made to fail, by a digit more or less of what was found.
    usable constant boolean := selectors <= 1000 AND NOT EXISTS (
        SELECT FROM unnest(users || ips || devices) AS v WHERE v IS NULL OR octet_length(v) > 512
    ) AND array_position(events, NULL) IS NULL;
    slots pii_vault.token_slot[];
    days date[];
    ids uuid[];
    at timestamptz;
    refusal pii_vault.access_refusal;
    payer uuid;
    alone_used bigint;
    seq bigint;
BEGIN
    PERFORM pii_vault.require_member('pii_vault_unmask');
    SELECT ARRAY[v.active_slot, v.searched_slot] INTO STRICT slots FROM pii_vault.vault AS v;
    -- Before the lock, so that a long search holds up nobody; what is judged is read after it.
    IF usable AND (selectors > 0 OR since IS NOT NULL AND until IS NOT NULL) THEN
        SELECT array_agg(s.create_date), array_agg(s.event_id) INTO days, ids FROM (
            SELECT e.create_date, e.event_id
            FROM pii_vault.select_events(slots[1], slots[2], users, ips, devices, since, until) AS e
            WHERE events = '{}'
            UNION ALL
            SELECT e.create_date, e.event_id
            FROM pii_vault.find_events(events, since, until) AS f
            JOIN pii_vault.select_events(slots[1], slots[2], users, ips, devices, since, until) AS e
                ON e.create_date = f.create_date AND e.event_id = f.event_id
            WHERE events <> '{}'
            ORDER BY 1, 2
            LIMIT most + 1
        ) AS s;
    END IF;
    days := coalesce(days, '{}');
    ids := coalesce(ids, '{}');

    at := pii_vault.audit_lock();
    refusal := pii_vault.access_form(record_unmask.reason, record_unmask.case_id, asked);
    IF refusal IS NULL AND (
        NOT usable OR since > until OR NOT isfinite(since) OR NOT isfinite(until)
    ) THEN
        refusal := 'malformed';
    ELSIF refusal IS NULL AND selectors = 0 AND (since IS NULL OR until IS NULL) THEN
        refusal := 'no_selector';
    ELSIF refusal IS NULL AND cardinality(ids) > most THEN
        refusal := 'too_many_rows';
    ELSIF refusal IS NULL THEN
        SELECT j.payer, j.refusal, j.alone_used INTO payer, refusal, alone_used
        FROM pii_vault.judge_unmask(
            at, asked, record_unmask.case_id, record_unmask.named_grant, cardinality(ids)::bigint * cardinality(asked)
        ) AS j;
    END IF;

    seq := pii_vault.audit_append(
        at, pii_vault.audit_origin(),
        CASE WHEN dry THEN 'unmask_dry_run' ELSE 'unmask' END::pii_vault.audit_action, receipt,
        CASE WHEN refusal IS NULL THEN 'allowed' ELSE 'refused' END::pii_vault.audit_decision, refusal,
        left(record_unmask.reason, 1000), left(record_unmask.case_id, 100),
        json_build_object(
            'fields', asked,
            'selector', CASE WHEN usable THEN json_build_object(
                'event_ids', events, 'user_ids', users, 'masked_ips', ips, 'masked_device_ids', devices,
                'since', since, 'until', until
            ) END,
            'named_grant', record_unmask.named_grant, 'grant', payer, 'alone_used', alone_used,
            'rows', cardinality(ids), 'values', cardinality(ids) * cardinality(asked),
            'list_sha256', encode(pii_vault.list_hash(days, ids), 'hex')
        )
    );
    INSERT INTO pii_vault.receipts
        (id, kind, seq, recorded_at, actor, fields, case_id, grant_id, decision, refusal, row_count, value_count)
    VALUES (
        receipt, CASE WHEN dry THEN 'dry_run' ELSE 'unmask' END::pii_vault.receipt_kind, seq, at, session_user, asked,
        left(record_unmask.case_id, 100), payer,
        CASE WHEN refusal IS NULL THEN 'allowed' ELSE 'refused' END::pii_vault.audit_decision, refusal,
        cardinality(ids), cardinality(ids) * cardinality(asked)
    );
    IF refusal IS NULL AND NOT dry THEN
        INSERT INTO pii_vault.receipt_rows (receipt, ordinal, create_date, event_id)
        SELECT receipt, l.ordinal, l.day, l.id
        FROM unnest(days, ids) WITH ORDINALITY AS l (day, id, ordinal);
    END IF;
    RETURN receipt;
END
$$;
