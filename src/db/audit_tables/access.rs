//! What access is judged by, and what is handed out of it.

pub(super) const POLICY: &str = "
    SELECT coalesce(l.seq, p.seq) AS seq, coalesce(l.seq, p.seq)::text AS id,
        CASE WHEN l.seq IS NULL THEN 'not logged' WHEN p.seq IS NULL THEN 'gone' ELSE 'differs' END AS how
    FROM (SELECT * FROM pii_vault.audit_log WHERE action::text = 'policy') AS l
    FULL JOIN pii_vault.access_policy AS p ON p.seq = l.seq
    WHERE (l.details ->> 'alone_limit', l.details ->> 'approvals', l.details ->> 'longest_grant_seconds',
           l.details ->> 'case_pattern', l.details ->> 'checkpoints')
        IS DISTINCT FROM (p.alone_limit::text, p.approvals::text, p.longest_grant_seconds::text,
           p.case_pattern, p.checkpoints::text)";

pub(super) const REQUESTS: &str = "
    SELECT l.seq, coalesce(l.subject, r.id)::text AS id,
        CASE WHEN l.seq IS NULL THEN 'not logged' WHEN r.id IS NULL THEN 'gone' ELSE 'differs' END AS how
    FROM (SELECT * FROM pii_vault.audit_log WHERE action::text = 'access_request' AND decision = 'allowed') AS l
    FULL JOIN pii_vault.access_requests AS r ON r.id = l.subject
    WHERE (l.at, l.actor, (l.details -> 'fields')::text, l.reason, l.case_id, l.details ->> 'max_values',
           l.details ->> 'duration_seconds', l.details ->> 'approvals_needed')
        IS DISTINCT FROM (r.requested_at, r.requester, array_to_json(r.fields)::text, r.reason, r.case_id,
           r.max_values::text, r.duration_seconds::text, r.approvals_needed::text)";

pub(super) const DECISIONS: &str = "
    SELECT l.seq, coalesce(l.subject, d.request)::text AS id,
        CASE WHEN l.seq IS NULL THEN 'not logged' WHEN d.request IS NULL THEN 'gone' ELSE 'differs' END AS how
    FROM (SELECT * FROM pii_vault.audit_log
          WHERE action::text IN ('access_approval', 'access_denial') AND decision = 'allowed') AS l
    FULL JOIN pii_vault.access_decisions AS d ON d.request = l.subject AND d.decided_by = l.actor
    WHERE (l.at, CASE l.action::text WHEN 'access_approval' THEN 'approved' ELSE 'denied' END,
           l.details ->> 'requester', l.seq IS NULL)
        IS DISTINCT FROM (d.decided_at, d.verdict::text, d.requester, d.request IS NULL)";

/// Those that are not chained yet are in force and are no fault.
pub(super) const REVOCATIONS: &str = "
    SELECT coalesce(l.seq, r.seq) AS seq, coalesce(l.subject, r.request)::text AS id,
        CASE WHEN l.seq IS NULL THEN 'not logged' WHEN r.id IS NULL THEN 'gone' ELSE 'differs' END AS how
    FROM (SELECT * FROM pii_vault.audit_log WHERE action::text = 'access_revocation' AND decision = 'allowed') AS l
    FULL JOIN (SELECT * FROM pii_vault.access_revocations WHERE seq IS NOT NULL) AS r ON r.seq = l.seq
    WHERE (l.subject, l.actor, l.reason, l.details ->> 'revoked_at')
        IS DISTINCT FROM (r.request, r.revoked_by, r.reason,
           (extract(epoch FROM r.revoked_at) * 1000000)::bigint::text)";

pub(super) const RECEIPTS: &str = "
    SELECT coalesce(l.seq, r.seq) AS seq, coalesce(l.subject, r.id)::text AS id,
        CASE WHEN l.seq IS NULL THEN 'not logged' WHEN r.id IS NULL THEN 'gone' ELSE 'differs' END AS how
    FROM (SELECT * FROM pii_vault.audit_log WHERE action::text IN ('unmask', 'unmask_dry_run', 'lookup')) AS l
    FULL JOIN pii_vault.receipts AS r ON r.seq = l.seq
    WHERE (l.subject, l.at, l.actor, l.case_id, l.decision, l.refusal,
           CASE l.action::text WHEN 'unmask_dry_run' THEN 'dry_run' ELSE l.action::text END,
           CASE l.action::text WHEN 'lookup' THEN coalesce('[\"' || (l.details ->> 'field') || '\"]', '[]')
               ELSE (l.details -> 'fields')::text END,
           l.details ->> 'grant', coalesce(l.details ->> 'rows', '0'), coalesce(l.details ->> 'values', '0'))
        IS DISTINCT FROM (r.id, r.recorded_at, r.actor, r.case_id, r.decision, r.refusal, r.kind::text,
           array_to_json(r.fields)::text, r.grant_id::text, r.row_count::text, r.value_count::text)";

pub(super) const RECEIPT_ROWS: &str = "
    SELECT r.seq, x.receipt::text AS id, 'not logged' AS how
    FROM pii_vault.receipt_rows AS x LEFT JOIN pii_vault.receipts AS r ON r.id = x.receipt
    WHERE (r.kind = 'unmask' AND r.decision = 'allowed') IS NOT TRUE";

/// Jobs from before the log hand out nothing more.
pub(super) const REDRIVE_JOBS: &str = "
    SELECT coalesce(l.seq, j.seq) AS seq, coalesce(l.subject, j.id)::text AS id,
        CASE WHEN l.seq IS NULL THEN 'not logged' WHEN j.id IS NULL THEN 'gone' ELSE 'differs' END AS how
    FROM (SELECT * FROM pii_vault.audit_log WHERE action::text = 'redrive' AND decision = 'allowed') AS l
    FULL JOIN (SELECT * FROM pii_vault.redrive_jobs WHERE seq IS NOT NULL) AS j ON j.seq = l.seq
    WHERE (l.subject, l.at, l.actor, l.reason, l.details ->> 'rows')
        IS DISTINCT FROM (j.id, j.recorded_at, j.actor, j.note, j.row_count::text)";
