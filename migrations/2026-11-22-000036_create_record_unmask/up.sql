-- The rows that a selector means: within a kind any value, between kinds all of them; empty selects all. With the
-- rights of who calls it, which is a function of the owner. STABLE, so that it is inlined and the indexes serve it.
CREATE FUNCTION pii_vault.select_events(
    slot pii_vault.token_slot, user_ids text[], masked_ips text[], masked_device_ids text[], since date, until date
)
RETURNS TABLE (create_date date, event_id uuid)
LANGUAGE sql STABLE
AS $$
    SELECT e.create_date, e.event_id
    FROM pii_vault.login_events AS e
    WHERE (user_ids = '{}' OR e.user_id = ANY (user_ids))
        AND (masked_ips = '{}' OR CASE slot WHEN 'a' THEN e.ip_token_a ELSE e.ip_token_b END = ANY (masked_ips))
        AND (masked_device_ids = '{}'
            OR CASE slot WHEN 'a' THEN e.device_id_token_a ELSE e.device_id_token_b END = ANY (masked_device_ids))
        AND (since IS NULL OR e.create_date >= since)
        AND (until IS NULL OR e.create_date <= until)
$$;

-- The same for event ids, which have no index of their own: by the primary key, a probe for each day and id.
CREATE FUNCTION pii_vault.find_events(event_ids uuid[], since date, until date)
RETURNS TABLE (create_date date, event_id uuid)
LANGUAGE sql STABLE
AS $$
    SELECT e.create_date, e.event_id
    FROM (SELECT min(x.create_date) AS first, max(x.create_date) AS last FROM pii_vault.login_events AS x) AS stored
    -- Dates alone: timestamps end before they do, and no distance to an infinite one is taken.
    CROSS JOIN LATERAL (
        -- NULL is no bound, but greatest() and least() only pass it over.
        SELECT CASE WHEN since > stored.first THEN least(since, stored.last) ELSE stored.first END AS first,
            CASE WHEN until < stored.last THEN greatest(until, stored.first) ELSE stored.last END AS last
    ) AS wanted
    CROSS JOIN LATERAL generate_series(0, wanted.last - wanted.first) AS day
    JOIN pii_vault.login_events AS e ON e.create_date = wanted.first + day AND e.event_id = ANY (event_ids)
    WHERE (since IS NULL OR e.create_date >= since) AND (until IS NULL OR e.create_date <= until)
$$;

-- SHA-256 of the list, in the order of its ordinals: ASCII YYYY-MM-DD and the 16 bytes of the id, each after its length.
CREATE FUNCTION pii_vault.list_hash(days date[], ids uuid[]) RETURNS bytea
LANGUAGE sql IMMUTABLE
SET search_path = pii_vault, pg_temp
AS $$
    SELECT sha256(
        pii_vault.audit_part('pii-vault/v1/list') || coalesce(string_agg(
            pii_vault.audit_part(to_char(l.day, 'YYYY-MM-DD')) || pii_vault.audit_part(uuid_send(l.id)), ''::bytea
            ORDER BY l.ordinal
        ), ''::bytea)
    )
    FROM unnest(days, ids) WITH ORDINALITY AS l (day, id, ordinal)
$$;

-- Whether an approver denied or took back what this login asked for this case. Then it opens nothing of it alone.
CREATE FUNCTION pii_vault.closed_case(case_id text) RETURNS pii_vault.access_refusal
LANGUAGE sql STABLE
SET search_path = pii_vault, pg_temp
AS $$
    SELECT CASE WHEN cardinality(g.denied_by) > 0 THEN 'denied' ELSE 'revoked' END::pii_vault.access_refusal
    FROM pii_vault.access_grants AS g
    WHERE g.requester = session_user::text AND g.case_id = closed_case.case_id
        AND (cardinality(g.denied_by) > 0 OR EXISTS (SELECT FROM unnest(g.revoked_by) AS r WHERE r <> session_user::text))
    ORDER BY g.requested_at DESC, g.id LIMIT 1
$$;

-- Who pays for so many values: a grant of this login for the case (the newest that has enough left), or what it may
-- open alone. With a grant named, that and nothing else.
CREATE FUNCTION pii_vault.judge_unmask(
    at timestamptz, fields pii_vault.sealed_field[], case_id text, named_grant uuid, value_count bigint,
    OUT payer uuid, OUT refusal pii_vault.access_refusal, OUT alone_used bigint
)
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    candidate pii_vault.access_grants;
    why pii_vault.access_refusal;
BEGIN
    SELECT coalesce(sum(t.value_count), 0) INTO alone_used FROM pii_vault.receipts AS t
    WHERE t.actor = session_user::text AND t.kind = 'unmask' AND t.decision = 'allowed' AND t.grant_id IS NULL
        AND t.recorded_at > judge_unmask.at - interval '24 hours';
    FOR candidate IN
        SELECT g.* FROM pii_vault.access_grants AS g
        WHERE g.requester = session_user::text
            AND CASE WHEN named_grant IS NULL THEN g.case_id = judge_unmask.case_id ELSE g.id = named_grant END
        ORDER BY g.requested_at DESC, g.id
    LOOP
        why := CASE
            WHEN candidate.state = 'pending' THEN 'not_approved'
            WHEN candidate.state = 'denied' THEN 'denied'
            WHEN candidate.state = 'revoked' THEN 'revoked'
            WHEN candidate.state = 'expired' THEN 'expired'
            WHEN candidate.case_id <> judge_unmask.case_id THEN 'other_case'
            WHEN NOT judge_unmask.fields <@ candidate.fields THEN 'other_fields'
            WHEN candidate.used + judge_unmask.value_count > candidate.max_values THEN 'used_up'
        END;
        IF why IS NULL THEN
            payer := candidate.id;
            refusal := NULL;
            RETURN;
        END IF;
        refusal := coalesce(refusal, why);
    END LOOP;
    IF named_grant IS NOT NULL THEN
        refusal := coalesce(refusal, 'unknown_grant');
        RETURN;
    END IF;
    why := pii_vault.closed_case(judge_unmask.case_id);
    IF why IS NOT NULL THEN
        refusal := why;
        RETURN;
    END IF;
    IF alone_used + judge_unmask.value_count
        <= (SELECT p.alone_limit FROM pii_vault.access_policy AS p ORDER BY p.seq DESC LIMIT 1)
    THEN
        refusal := NULL;
    ELSE
        refusal := coalesce(refusal, 'alone_limit');
    END IF;
END
$$;

-- The first of record, arm, fetch, settle. The same answer whatever was decided: an id, and no more before it is committed.
CREATE FUNCTION pii_vault.record_unmask(
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
    slot pii_vault.token_slot;
    days date[];
    ids uuid[];
    at timestamptz;
    refusal pii_vault.access_refusal;
    payer uuid;
    alone_used bigint;
    seq bigint;
BEGIN
    PERFORM pii_vault.require_member('pii_vault_unmask');
    SELECT v.active_slot INTO STRICT slot FROM pii_vault.vault AS v;
    -- Before the lock, so that a long search holds up nobody; what is judged is read after it.
    IF usable AND (selectors > 0 OR since IS NOT NULL AND until IS NOT NULL) THEN
        SELECT array_agg(s.create_date), array_agg(s.event_id) INTO days, ids FROM (
            SELECT e.create_date, e.event_id
            FROM pii_vault.select_events(slot, users, ips, devices, since, until) AS e
            WHERE events = '{}'
            UNION ALL
            SELECT e.create_date, e.event_id
            FROM pii_vault.find_events(events, since, until) AS f
            JOIN pii_vault.select_events(slot, users, ips, devices, since, until) AS e
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
COMMENT ON FUNCTION pii_vault.record_unmask IS
    'The first of record, arm, fetch, settle: records who wants to open which rows and why. Commit before you go on';

REVOKE EXECUTE ON FUNCTION
    pii_vault.select_events, pii_vault.find_events, pii_vault.list_hash, pii_vault.closed_case,
    pii_vault.judge_unmask, pii_vault.record_unmask
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pii_vault.record_unmask TO pii_vault_unmask;
