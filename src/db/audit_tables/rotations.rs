//! What rotations of keys go by, and what they left.

/// What a job is for must be what was recorded, the list of keys by its hash; and how far it is must follow from what
/// was recorded since.
pub(super) const ROTATION_JOBS: &str = "
    SELECT coalesce(l.seq, j.seq) AS seq, coalesce(l.subject, j.id)::text AS id,
        CASE WHEN l.seq IS NULL THEN 'not logged' WHEN j.id IS NULL THEN 'gone' ELSE 'differs' END AS how
    FROM (
        SELECT s.*, (
            SELECT (array_agg(t.step ORDER BY t.seq DESC) FILTER (WHERE t.step IN ('start', 'filled', 'retry', 'fill_again',
                'cut_over', 'finish', 'roll_back', 'done', 'abandoned')))[1]
            FROM (SELECT n.seq, n.details ->> 'step' AS step FROM pii_vault.audit_log AS n
                  WHERE n.subject = s.subject AND n.action::text = 'key_rotation') AS t
        ) AS last_step
        FROM pii_vault.audit_log AS s WHERE s.action::text = 'key_rotation' AND s.details ->> 'step' = 'start'
    ) AS l
    FULL JOIN pii_vault.rotation_jobs AS j ON j.seq = l.seq
    WHERE (l.subject, l.at, l.actor, l.reason, l.details ->> 'kind', l.details ->> 'purpose', l.details ->> 'total',
           l.details ->> 'old_keys_sha256', l.details ->> 'new_key', l.details ->> 'old_slot',
           l.details ->> 'target_kms_key', l.details ->> 'wrapped_before',
           CASE l.last_step WHEN 'start' THEN 'work' WHEN 'retry' THEN 'work' WHEN 'fill_again' THEN 'work'
               WHEN 'finish' THEN 'emptying' WHEN 'roll_back' THEN 'emptying'
               ELSE l.last_step END)
        IS DISTINCT FROM (j.id, j.recorded_at, j.actor, j.reason, j.kind::text, j.purpose::text, j.total::text,
           (SELECT encode(sha256(convert_to('pii-vault/v1/keys', 'UTF8')
                || coalesce(string_agg(uuid_send(k.id), '' ORDER BY k.ordinal), '')), 'hex')
            FROM unnest(j.old_keys) WITH ORDINALITY AS k (id, ordinal)),
           j.new_key::text, j.old_slot::text, j.target_kms_key,
           (extract(epoch FROM j.wrapped_before) * 1000000)::bigint::text, j.step::text)";

/// The list of a sample by its hash.
pub(super) const ROTATION_HANDOUTS: &str = "
    SELECT coalesce(l.seq, h.seq) AS seq, coalesce(h.id::text, l.details ->> 'handout') AS id,
        CASE WHEN l.seq IS NULL THEN 'not logged' WHEN h.id IS NULL THEN 'gone' ELSE 'differs' END AS how
    FROM (SELECT * FROM pii_vault.audit_log
          WHERE action::text = 'key_rotation' AND details ->> 'step' IN ('sample', 'token_map')) AS l
    FULL JOIN pii_vault.rotation_handouts AS h ON h.seq = l.seq
    WHERE (l.subject, l.at, l.actor, l.details ->> 'step', l.details ->> 'handout', l.details ->> 'rows',
           l.details ->> 'list_sha256')
        IS DISTINCT FROM (h.job, h.recorded_at, h.actor, h.kind::text, h.id::text, cardinality(h.ids)::text,
           (SELECT encode(sha256(int4send(17) || convert_to('pii-vault/v1/list', 'UTF8') || string_agg(
                int4send(10) || convert_to(to_char(r.day, 'YYYY-MM-DD'), 'UTF8') || int4send(16) || uuid_send(r.id), ''
                ORDER BY r.ordinal)), 'hex')
            FROM unnest(h.days, h.ids) WITH ORDINALITY AS r (day, id, ordinal)))";

/// From these on no key of a purpose is stored that such a KMS key wraps.
pub(super) const RETIRED_KMS_KEYS: &str = "
    SELECT coalesce(l.seq, r.seq) AS seq, coalesce(r.kms_key, l.details ->> 'kms_key') AS id,
        CASE WHEN l.seq IS NULL THEN 'not logged' WHEN r.seq IS NULL THEN 'gone' ELSE 'differs' END AS how
    FROM (SELECT * FROM pii_vault.audit_log WHERE action::text = 'key_rotation'
          AND details ->> 'step' = 'retire' AND details ->> 'kind' = 'kek') AS l
    FULL JOIN pii_vault.retired_kms_keys AS r ON r.seq = l.seq
    WHERE (l.subject, l.at, l.details ->> 'purpose', l.details ->> 'kms_key')
        IS DISTINCT FROM (r.job, r.retired_at, r.purpose::text, r.kms_key)";

/// The rows that were set aside at once, by the hash of their list.
pub(super) const SET_ASIDE_EVENTS: &str = "
    SELECT l.seq, coalesce(s.job, l.subject)::text AS id,
        CASE WHEN l.seq IS NULL THEN 'not logged' WHEN s.job IS NULL THEN 'gone' ELSE 'differs' END AS how
    FROM (SELECT * FROM pii_vault.audit_log
          WHERE action::text = 'key_rotation' AND details ->> 'step' = 'set_aside') AS l
    FULL JOIN (
        SELECT e.job, (extract(epoch FROM e.set_aside_at) * 1000000)::bigint::text AS at, count(*)::text AS rows,
            encode(sha256(int4send(17) || convert_to('pii-vault/v1/list', 'UTF8') || string_agg(
                int4send(10) || convert_to(to_char(e.create_date, 'YYYY-MM-DD'), 'UTF8') || int4send(16)
                    || uuid_send(e.event_id), ''
                ORDER BY e.create_date, e.event_id)), 'hex') AS list
        FROM pii_vault.set_aside_events AS e GROUP BY e.job, e.set_aside_at
    ) AS s ON s.job = l.subject AND s.at = l.details ->> 'set_aside_at'
    WHERE (l.subject, l.details ->> 'rows', l.details ->> 'list_sha256') IS DISTINCT FROM (s.job, s.rows, s.list)";
