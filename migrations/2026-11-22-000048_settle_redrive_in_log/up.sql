-- In the transaction that stores the events, and last in it: the log is locked at the end, so that it is held shortly,
-- and always after keys, events and dead letters, so that nobody who holds it waits for those.
CREATE OR REPLACE FUNCTION pii_vault.settle_redrive(
    job uuid, ordinals integer[], outcomes pii_vault.redrive_outcome[],
    reasons pii_vault.dead_letter_reason[], members pii_vault.login_member[]
)
RETURNS void
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
DECLARE
    own constant pii_vault.redrive_jobs := pii_vault.own_redrive_job(settle_redrive.job);
    first integer;
    last integer;
    stored integer;
    refused integer;
    unopened integer[];
BEGIN
    IF own.armed_by IS NULL OR cardinality(outcomes) <> cardinality(ordinals)
        OR cardinality(reasons) <> cardinality(ordinals) OR cardinality(members) <> cardinality(ordinals)
        OR array_position(outcomes, NULL) IS NOT NULL
        OR (SELECT count(DISTINCT o) FROM unnest(settle_redrive.ordinals) AS o) <> cardinality(ordinals)
    THEN
        RAISE 'this is no outcome of rows of the job' USING ERRCODE = 'invalid_parameter_value';
    END IF;

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

    -- The first outcome of a row stays, and nothing becomes of its letter that the log does not show.
    UPDATE pii_vault.dead_letters AS l SET redriven_at = clock_timestamp(), redrive_job = own.id
    FROM unnest(settle_redrive.ordinals, settle_redrive.outcomes) AS s (ordinal, outcome)
    JOIN pii_vault.redrive_rows AS r ON r.job = own.id AND r.ordinal = s.ordinal AND r.outcome IS NULL
    WHERE l.create_date = r.create_date AND l.message_id = r.message_id
        AND s.outcome = 'stored' AND l.redriven_at IS NULL;

    UPDATE pii_vault.dead_letters AS l SET reason = s.reason, member = s.member
    FROM unnest(settle_redrive.ordinals, settle_redrive.outcomes, settle_redrive.reasons, settle_redrive.members)
        AS s (ordinal, outcome, reason, member)
    JOIN pii_vault.redrive_rows AS r ON r.job = own.id AND r.ordinal = s.ordinal AND r.outcome IS NULL
    WHERE l.create_date = r.create_date AND l.message_id = r.message_id
        AND s.outcome = 'refused' AND l.redriven_at IS NULL
        AND (l.reason, l.member) IS DISTINCT FROM (s.reason, s.member);

    WITH settled AS (
        UPDATE pii_vault.redrive_rows AS r SET outcome = s.outcome, settled_at = clock_timestamp()
        FROM unnest(settle_redrive.ordinals, settle_redrive.outcomes) AS s (ordinal, outcome)
        WHERE r.job = own.id AND r.ordinal = s.ordinal AND r.outcome IS NULL
        RETURNING r.ordinal, r.outcome
    )
    SELECT min(s.ordinal), max(s.ordinal), count(*) FILTER (WHERE s.outcome = 'stored'),
        count(*) FILTER (WHERE s.outcome = 'refused'),
        coalesce(array_agg(s.ordinal ORDER BY s.ordinal) FILTER (WHERE s.outcome = 'did_not_open'), '{}')
    INTO first, last, stored, refused, unopened FROM settled AS s;
    IF first IS NULL THEN
        RETURN;
    END IF;
    PERFORM pii_vault.audit_append(
        pii_vault.audit_lock(), pii_vault.audit_origin(), 'redrive_page', own.id, NULL, NULL, NULL, NULL,
        json_build_object(
            'first', first, 'last', last, 'stored', stored, 'refused', refused,
            'did_not_open', cardinality(unopened), 'unopened', unopened
        )
    );
END
$$;
