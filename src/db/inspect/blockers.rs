//! Who is in the way of rows and of partitions.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Double, Integer, Nullable, Text};
use diesel_async::RunQueryDsl;

use super::super::{Connection, DbError};

/// A transaction of another session that has locks which others may wait for.
#[derive(Clone, Debug, QueryableByName)]
pub struct Holder {
    /// Its process, for `pg_terminate_backend`.
    #[diesel(sql_type = Integer)]
    pub pid: i32,
    /// Tells a transaction from a later one of the same process.
    #[diesel(sql_type = Text)]
    pub transaction: String,
    /// Who logged in, and the program's name for itself.
    #[diesel(sql_type = Text)]
    pub who: String,
    /// The strongest of its locks, and a table that it is on.
    #[diesel(sql_type = Text)]
    pub lock: String,
    /// Whether nobody can add rows meanwhile.
    #[diesel(sql_type = Bool)]
    pub stops_rows: bool,
    /// Sessions that wait for it.
    #[diesel(sql_type = BigInt)]
    pub waiting: i64,
    /// Since when, in seconds; shown to `pg_read_all_stats` only.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub seconds: Option<i64>,
}

/// Those that have locks in `login_events` or its partitions, at this instant.
///
/// # Errors
/// [`DbError`].
pub async fn holders(conn: &mut Connection) -> Result<Vec<Holder>, DbError> {
    diesel::sql_query(HOLDERS).load(conn).await.map_err(DbError::during("reading locks"))
}

/// Those that keep others from adding to the audit log, at this instant: they have its turn, or its head, which is
/// locked by row; who waits for a row has the table's lock as well.
///
/// # Errors
/// [`DbError`].
pub async fn log_holders(conn: &mut Connection) -> Result<Vec<Holder>, DbError> {
    diesel::sql_query(LOG_HOLDERS).load(conn).await.map_err(DbError::during("reading locks"))
}

/// Transactions that were prepared and neither committed nor rolled back: their locks belong to no session.
///
/// # Errors
/// [`DbError`].
pub async fn prepared(conn: &mut Connection) -> Result<Vec<String>, DbError> {
    let sql = "SELECT quote_literal(gid) || ' of ' || owner AS line FROM pg_prepared_xacts \
               WHERE database = current_database() ORDER BY prepared";
    super::lines(conn, "reading prepared transactions", sql).await
}

/// What sessions announce to each other and some have not read yet, as a share of all that can wait.
///
/// # Errors
/// [`DbError`].
pub async fn announcements(conn: &mut Connection) -> Result<f64, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Double)]
        usage: f64,
    }
    let row: Row = diesel::sql_query("SELECT pg_notification_queue_usage() AS usage")
        .get_result(conn)
        .await
        .map_err(DbError::during("reading how much is announced"))?;
    Ok(row.usage)
}

/// Transactions of this cluster that stay open and idle: one of a session that listens keeps all announcements. The one
/// that is open for longest first.
///
/// # Errors
/// [`DbError`].
pub async fn idle_in_transaction(conn: &mut Connection) -> Result<Vec<String>, DbError> {
    let sql = "SELECT 'process ' || pid || ' (' || coalesce(usename, '?') || coalesce(', ' || nullif(application_name, ''), '') \
               || ')' AS line FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' ORDER BY xact_start, pid";
    super::lines(conn, "reading idle transactions", sql).await
}

const HOLDERS: &str = "\
    WITH ours AS ( \
        SELECT oid, relname FROM pg_class WHERE relnamespace = 'pii_vault'::regnamespace AND relkind IN ('r', 'p') \
        AND (relname = 'login_events' OR relname LIKE 'login\\_events\\_%') \
    ), locks AS ( \
        SELECT l.pid, l.virtualtransaction, l.granted, o.relname, array_position(ARRAY['AccessShareLock', 'RowShareLock', \
            'RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', \
            'AccessExclusiveLock'], l.mode) AS strength, l.mode \
        FROM pg_locks AS l JOIN ours AS o ON o.oid = l.relation JOIN pg_database AS d ON d.oid = l.database \
        WHERE d.datname = current_database() AND l.pid <> pg_backend_pid() \
    ), strongest AS ( \
        SELECT DISTINCT ON (pid) * FROM locks WHERE granted ORDER BY pid, strength DESC, relname \
    ) \
    SELECT s.pid, s.virtualtransaction AS transaction, \
        coalesce(a.usename, '?') || coalesce(', ' || nullif(a.application_name, ''), '') AS who, \
        s.mode || ' on ' || s.relname AS lock, s.strength > 4 AS stops_rows, \
        (SELECT count(DISTINCT w.pid) FROM locks AS w WHERE NOT w.granted AND s.pid = ANY (pg_blocking_pids(w.pid))) \
            AS waiting, \
        extract(epoch FROM clock_timestamp() - a.xact_start)::bigint AS seconds \
    FROM strongest AS s JOIN pg_stat_activity AS a USING (pid) \
    WHERE a.usesysid IS NOT NULL ORDER BY s.strength DESC, s.pid";

const LOG_HOLDERS: &str = "\
    WITH locks AS ( \
        SELECT l.pid, l.virtualtransaction, c.relname, l.mode, array_position(ARRAY['AccessShareLock', 'RowShareLock', \
            'RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', \
            'AccessExclusiveLock'], l.mode) AS strength, \
            EXISTS (SELECT FROM pg_locks AS w WHERE w.pid = l.pid AND w.relation = l.relation \
                AND (w.locktype = 'tuple' OR NOT w.granted)) AS waits \
        FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation JOIN pg_database AS d ON d.oid = l.database \
        WHERE d.datname = current_database() AND l.pid <> pg_backend_pid() \
            AND c.relnamespace = 'pii_vault'::regnamespace AND c.relname IN ('audit_turn', 'audit_head', 'audit_log') \
    ), strongest AS ( \
        SELECT DISTINCT ON (pid) * FROM locks \
        WHERE NOT waits AND strength > CASE relname WHEN 'audit_head' THEN 1 WHEN 'audit_turn' THEN 3 ELSE 4 END \
        ORDER BY pid, strength DESC, relname \
    ) \
    SELECT s.pid, s.virtualtransaction AS transaction, \
        coalesce(a.usename, '?') || coalesce(', ' || nullif(a.application_name, ''), '') AS who, \
        'the lock of the audit log' AS lock, true AS stops_rows, \
        (SELECT count(DISTINCT w.pid) FROM locks AS w WHERE w.waits) AS waiting, \
        extract(epoch FROM clock_timestamp() - a.xact_start)::bigint AS seconds \
    FROM strongest AS s JOIN pg_stat_activity AS a USING (pid) \
    WHERE a.usesysid IS NOT NULL ORDER BY s.strength DESC, s.pid";
