//! Whether the tables that access is judged by say what the audit log says.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::RunQueryDsl;

use super::{Connection, DbError};

/// A table that follows from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// What may be opened.
    Policy,
    /// What was asked for.
    Requests,
    /// What was approved and denied.
    Decisions,
    /// What was taken back.
    Revocations,
    /// What may be handed out.
    Receipts,
    /// Rows of receipts that hand out none.
    ReceiptRows,
    /// Which dead letters may be handed out.
    RedriveJobs,
    /// Which keys are rotated, and which rows are handed out for that.
    RotationJobs,
}

/// How the two differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The table has a row that no entry speaks of.
    NotLogged,
    /// The entry's row is gone.
    Gone,
    /// The row is not as the entry has it.
    Differs,
}

/// A row of a table, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The entry, where there is one.
    pub seq: Option<i64>,
    /// The row's id.
    pub row: String,
    /// What is wrong.
    pub difference: Difference,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Policy,
        Self::Requests,
        Self::Decisions,
        Self::Revocations,
        Self::Receipts,
        Self::ReceiptRows,
        Self::RedriveJobs,
        Self::RotationJobs,
    ];

    /// Its name in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Policy => "access_policy",
            Self::Requests => "access_requests",
            Self::Decisions => "access_decisions",
            Self::Revocations => "access_revocations",
            Self::Receipts => "receipts",
            Self::ReceiptRows => "receipt_rows",
            Self::RedriveJobs => "redrive_jobs",
            Self::RotationJobs => "rotation_jobs",
        }
    }

    /// Members of `details` are compared as text: a cast would fail on what somebody put there.
    fn query(self) -> &'static str {
        match self {
            Self::Policy => POLICY,
            Self::Requests => REQUESTS,
            Self::Decisions => DECISIONS,
            Self::Revocations => REVOCATIONS,
            Self::Receipts => RECEIPTS,
            Self::ReceiptRows => RECEIPT_ROWS,
            Self::RedriveJobs => REDRIVE_JOBS,
            Self::RotationJobs => ROTATION_JOBS,
        }
    }
}

/// Compares a table with the log: of each difference the first row. Call it where nothing changes meanwhile
/// ([`super::audit_log::stand_still`]).
///
/// # Errors
/// [`DbError`].
pub async fn mismatches(conn: &mut Connection, table: Table) -> Result<Vec<Mismatch>, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<BigInt>)]
        seq: Option<i64>,
        #[diesel(sql_type = Nullable<Text>)]
        id: Option<String>,
        #[diesel(sql_type = Text)]
        how: String,
    }
    let sql = format!("SELECT DISTINCT ON (how) seq, id, how FROM ({}) AS m ORDER BY how, seq, id", table.query());
    let rows: Vec<Row> =
        sql_query(sql).load(conn).await.map_err(DbError::during("comparing a table with the audit log"))?;
    let difference = |how: &str| match how {
        "not logged" => Difference::NotLogged,
        "gone" => Difference::Gone,
        _ => Difference::Differs,
    };
    Ok(rows
        .into_iter()
        .map(|row| Mismatch { seq: row.seq, row: row.id.unwrap_or_default(), difference: difference(&row.how) })
        .collect())
}

/// How many revocations are in force that the log does not have yet: the next who appends adds them.
///
/// # Errors
/// [`DbError`].
pub async fn unchained_revocations(conn: &mut Connection) -> Result<u64, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let row: Row = sql_query("SELECT count(*) FROM pii_vault.access_revocations WHERE seq IS NULL")
        .get_result(conn)
        .await
        .map_err(DbError::during("counting revocations"))?;
    Ok(row.count.unsigned_abs())
}

const POLICY: &str = "
    SELECT coalesce(l.seq, p.seq) AS seq, coalesce(l.seq, p.seq)::text AS id,
        CASE WHEN l.seq IS NULL THEN 'not logged' WHEN p.seq IS NULL THEN 'gone' ELSE 'differs' END AS how
    FROM (SELECT * FROM pii_vault.audit_log WHERE action::text = 'policy') AS l
    FULL JOIN pii_vault.access_policy AS p ON p.seq = l.seq
    WHERE (l.details ->> 'alone_limit', l.details ->> 'approvals', l.details ->> 'longest_grant_seconds',
           l.details ->> 'case_pattern', l.details ->> 'checkpoints')
        IS DISTINCT FROM (p.alone_limit::text, p.approvals::text, p.longest_grant_seconds::text,
           p.case_pattern, p.checkpoints::text)";

const REQUESTS: &str = "
    SELECT l.seq, coalesce(l.subject, r.id)::text AS id,
        CASE WHEN l.seq IS NULL THEN 'not logged' WHEN r.id IS NULL THEN 'gone' ELSE 'differs' END AS how
    FROM (SELECT * FROM pii_vault.audit_log WHERE action::text = 'access_request' AND decision = 'allowed') AS l
    FULL JOIN pii_vault.access_requests AS r ON r.id = l.subject
    WHERE (l.at, l.actor, (l.details -> 'fields')::text, l.reason, l.case_id, l.details ->> 'max_values',
           l.details ->> 'duration_seconds', l.details ->> 'approvals_needed')
        IS DISTINCT FROM (r.requested_at, r.requester, array_to_json(r.fields)::text, r.reason, r.case_id,
           r.max_values::text, r.duration_seconds::text, r.approvals_needed::text)";

const DECISIONS: &str = "
    SELECT l.seq, coalesce(l.subject, d.request)::text AS id,
        CASE WHEN l.seq IS NULL THEN 'not logged' WHEN d.request IS NULL THEN 'gone' ELSE 'differs' END AS how
    FROM (SELECT * FROM pii_vault.audit_log
          WHERE action::text IN ('access_approval', 'access_denial') AND decision = 'allowed') AS l
    FULL JOIN pii_vault.access_decisions AS d ON d.request = l.subject AND d.decided_by = l.actor
    WHERE (l.at, CASE l.action::text WHEN 'access_approval' THEN 'approved' ELSE 'denied' END,
           l.details ->> 'requester', l.seq IS NULL)
        IS DISTINCT FROM (d.decided_at, d.verdict::text, d.requester, d.request IS NULL)";

/// Those that are not chained yet are in force and are no fault.
const REVOCATIONS: &str = "
    SELECT coalesce(l.seq, r.seq) AS seq, coalesce(l.subject, r.request)::text AS id,
        CASE WHEN l.seq IS NULL THEN 'not logged' WHEN r.id IS NULL THEN 'gone' ELSE 'differs' END AS how
    FROM (SELECT * FROM pii_vault.audit_log WHERE action::text = 'access_revocation' AND decision = 'allowed') AS l
    FULL JOIN (SELECT * FROM pii_vault.access_revocations WHERE seq IS NOT NULL) AS r ON r.seq = l.seq
    WHERE (l.subject, l.actor, l.reason, l.details ->> 'revoked_at')
        IS DISTINCT FROM (r.request, r.revoked_by, r.reason,
           (extract(epoch FROM r.revoked_at) * 1000000)::bigint::text)";

const RECEIPTS: &str = "
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

const RECEIPT_ROWS: &str = "
    SELECT r.seq, x.receipt::text AS id, 'not logged' AS how
    FROM pii_vault.receipt_rows AS x LEFT JOIN pii_vault.receipts AS r ON r.id = x.receipt
    WHERE (r.kind = 'unmask' AND r.decision = 'allowed') IS NOT TRUE";

/// Jobs from before the log hand out nothing more.
const REDRIVE_JOBS: &str = "
    SELECT coalesce(l.seq, j.seq) AS seq, coalesce(l.subject, j.id)::text AS id,
        CASE WHEN l.seq IS NULL THEN 'not logged' WHEN j.id IS NULL THEN 'gone' ELSE 'differs' END AS how
    FROM (SELECT * FROM pii_vault.audit_log WHERE action::text = 'redrive' AND decision = 'allowed') AS l
    FULL JOIN (SELECT * FROM pii_vault.redrive_jobs WHERE seq IS NOT NULL) AS j ON j.seq = l.seq
    WHERE (l.subject, l.at, l.actor, l.reason, l.details ->> 'rows')
        IS DISTINCT FROM (j.id, j.recorded_at, j.actor, j.note, j.row_count::text)";

/// What a job is for must be what was recorded, the list of keys by its hash; and how far it is must follow from what
/// was recorded since.
const ROTATION_JOBS: &str = "
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
