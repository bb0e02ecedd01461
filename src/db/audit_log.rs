//! `pii_vault.audit_log`: what was done, by whom and why, in one chain of hashes.

use diesel::data_types::PgTimestamp;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{
    Array, BigInt, Binary, Bool, Date as SqlDate, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection as _};
use futures_util::TryStreamExt as _;
use futures_util::stream::Stream;
use time::Date;
use uuid::Uuid;

use super::enums::sql;
use super::{Connection, DbError, Fault};
use crate::domain::audit::{Action, Decision, Entry, Origin, UnixMicros};

/// What the head row says the last entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number; 0 where there is none.
    pub seq: i64,
    /// Its hash; zeros where there is none.
    pub hash: [u8; 32],
}

/// Which entries. What is empty selects all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Any of these logins.
    pub actors: Vec<String>,
    /// Any of these cases.
    pub cases: Vec<String>,
    /// Any of these actions.
    pub actions: Vec<Action>,
    /// Not before.
    pub since: Option<UnixMicros>,
    /// Before.
    pub until: Option<UnixMicros>,
}

/// A row of the list of a receipt, or of a job of redriving.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub struct ListedRow {
    /// The receipt, or the job.
    #[diesel(sql_type = SqlUuid)]
    pub receipt: Uuid,
    /// Its place in the list.
    #[diesel(sql_type = Integer)]
    pub ordinal: i32,
    /// The event's day.
    #[diesel(sql_type = SqlDate)]
    pub create_date: Date,
    /// The event, or the message.
    #[diesel(sql_type = SqlUuid)]
    pub event_id: Uuid,
}

/// Records that the schema was made or brought up to date; nothing where it was not, and the log has its beginning.
/// `conn` is under the owner's role.
///
/// # Errors
/// [`DbError`].
pub async fn record_init(conn: &mut Connection, migrations: usize, made_token_key: bool) -> Result<(), DbError> {
    sql_query("SELECT pii_vault.record_init($1, $2)")
        .bind::<Integer, _>(i32::try_from(migrations).unwrap_or(i32::MAX))
        .bind::<Bool, _>(made_token_key)
        .execute(conn)
        .await
        .map_err(DbError::during("recording the init"))?;
    Ok(())
}

/// From here on the connection sees the log and the tables as they are at one moment, whatever is recorded meanwhile,
/// and changes nothing. For the rest of the connection's life.
///
/// # Errors
/// [`DbError`].
pub async fn stand_still(conn: &mut Connection) -> Result<(), DbError> {
    conn.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL \"TimeZone\" = 'UTC'")
        .await
        .map_err(DbError::during("taking a snapshot of the audit log"))
}

/// What the head row says.
///
/// # Errors
/// [`DbError`].
pub async fn head(conn: &mut Connection) -> Result<Head, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        seq: i64,
        #[diesel(sql_type = Binary)]
        hash: Vec<u8>,
    }
    let row: Row = sql_query("SELECT seq, hash FROM pii_vault.audit_head")
        .get_result(conn)
        .await
        .map_err(DbError::during("reading the head of the audit log"))?;
    Ok(Head { seq: row.seq, hash: hash(&row.hash)? })
}

/// Binds what `MATCHES` takes.
macro_rules! matching {
    ($sql:expr, $after:expr, $filter:expr) => {
        sql_query($sql)
            .bind::<BigInt, _>($after)
            .bind::<Array<Text>, _>(&$filter.actors)
            .bind::<Array<Text>, _>(&$filter.cases)
            .bind::<Array<Text>, _>($filter.actions.iter().map(Action::name).collect::<Vec<_>>())
            .bind::<Nullable<Timestamptz>, _>($filter.since.map(to_postgres))
            .bind::<Nullable<Timestamptz>, _>($filter.until.map(to_postgres))
    };
}

/// Up to `most` entries beyond `after`, in order.
///
/// # Errors
/// [`DbError`].
pub async fn page(conn: &mut Connection, filter: &Filter, after: i64, most: u16) -> Result<Vec<Entry>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM pii_vault.audit_log WHERE seq > $1 AND {MATCHES} ORDER BY seq LIMIT $7");
    let rows: Vec<EntryRow> = matching!(sql, after, filter)
        .bind::<BigInt, _>(i64::from(most))
        .load(conn)
        .await
        .map_err(DbError::during("reading the audit log"))?;
    rows.into_iter().map(Entry::try_from).collect()
}

/// After which entry the last `count` that match begin; 0 where there are no more than these.
///
/// # Errors
/// [`DbError`].
pub async fn before_last(conn: &mut Connection, filter: &Filter, count: i64) -> Result<i64, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        seq: i64,
    }
    let sql =
        format!("SELECT seq FROM pii_vault.audit_log WHERE seq > $1 AND {MATCHES} ORDER BY seq DESC OFFSET $7 LIMIT 1");
    let row: Option<Row> = matching!(sql, i64::MIN, filter)
        .bind::<BigInt, _>(count)
        .get_result(conn)
        .await
        .optional()
        .map_err(DbError::during("reading the audit log"))?;
    Ok(row.map_or(0, |row| row.seq))
}

/// The rows of the lists of receipts and of jobs of redriving, one after the other, in the order of their ordinals.
///
/// # Errors
/// [`DbError`]; also in place of a row.
pub async fn lists<'c>(
    conn: &'c mut Connection,
    receipts: &[Uuid],
) -> Result<impl Stream<Item = Result<ListedRow, DbError>> + use<'c>, DbError> {
    const READING: &str = "reading the lists of receipts";
    let rows = sql_query(
        "SELECT receipt, ordinal, create_date, event_id FROM pii_vault.receipt_rows WHERE receipt = ANY ($1) \
         UNION ALL \
         SELECT job, ordinal, create_date, message_id FROM pii_vault.redrive_rows WHERE job = ANY ($1) \
         ORDER BY receipt, ordinal",
    )
    .bind::<Array<SqlUuid>, _>(receipts.to_vec())
    .load_stream(conn)
    .await
    .map_err(DbError::during(READING))?;
    Ok(rows.map_err(DbError::during(READING)))
}

/// As text where a later version may have words that this one does not know.
pub(super) const COLUMNS: &str = "seq, at, action::text, actor, role, client_address, claimed_host, claimed_version, decision, \
                       refusal::text, reason, case_id, subject, details::text, hash";

const MATCHES: &str = "($2 = '{}' OR actor = ANY ($2)) AND ($3 = '{}' OR case_id = ANY ($3)) \
                       AND ($4 = '{}' OR action::text = ANY ($4)) \
                       AND ($5 IS NULL OR at >= $5) AND ($6 IS NULL OR at < $6)";

#[derive(QueryableByName)]
pub(super) struct EntryRow {
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = Timestamptz)]
    at: PgTimestamp,
    #[diesel(sql_type = Text)]
    action: String,
    #[diesel(sql_type = Text)]
    actor: String,
    #[diesel(sql_type = Text)]
    role: String,
    #[diesel(sql_type = Nullable<Text>)]
    client_address: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    claimed_host: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    claimed_version: Option<String>,
    #[diesel(sql_type = Nullable<sql::AuditDecision>)]
    decision: Option<Decision>,
    #[diesel(sql_type = Nullable<Text>)]
    refusal: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    reason: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    case_id: Option<String>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    subject: Option<Uuid>,
    #[diesel(sql_type = Text)]
    details: String,
    #[diesel(sql_type = Binary)]
    hash: Vec<u8>,
}

impl TryFrom<EntryRow> for Entry {
    type Error = DbError;

    fn try_from(row: EntryRow) -> Result<Self, DbError> {
        Ok(Self {
            seq: row.seq,
            at: of_postgres(row.at),
            action: Action::of_name(row.action),
            origin: Origin {
                actor: row.actor,
                role: row.role,
                client_address: row.client_address,
                claimed_host: row.claimed_host,
                claimed_version: row.claimed_version,
            },
            decision: row.decision,
            refusal: row.refusal,
            reason: row.reason,
            case_id: row.case_id,
            subject: row.subject,
            details: row.details,
            hash: hash(&row.hash)?,
        })
    }
}

/// PostgreSQL counts from 2000; "infinity" is the last number that it has.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

pub(super) fn of_postgres(at: PgTimestamp) -> UnixMicros {
    UnixMicros(at.0.saturating_add(POSTGRES_EPOCH))
}

pub(super) fn to_postgres(at: UnixMicros) -> PgTimestamp {
    PgTimestamp(at.0.saturating_sub(POSTGRES_EPOCH))
}

pub(super) fn hash(bytes: &[u8]) -> Result<[u8; 32], DbError> {
    bytes.try_into().map_err(|_| DbError::new("reading the audit log", Fault::Unreadable))
}
