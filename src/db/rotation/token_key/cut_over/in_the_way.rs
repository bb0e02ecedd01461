//! Who is in the way of a cut-over: never what they ask.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text};
use diesel_async::RunQueryDsl;

use crate::db::{Connection, DbError};

/// A transaction of another session.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Holder {
    /// Its process, for `pg_terminate_backend`; `None`: the transaction was prepared, and belongs to no session.
    #[diesel(sql_type = Nullable<Integer>)]
    pub pid: Option<i32>,
    /// The name that it was prepared under, for `ROLLBACK PREPARED`; whoever prepared it chose that.
    #[diesel(sql_type = Nullable<Text>)]
    pub prepared: Option<String>,
    /// Who logged in, and the program's name for itself.
    #[diesel(sql_type = Text)]
    pub who: String,
    /// What it has.
    #[diesel(sql_type = Text)]
    pub what: String,
    /// Since when, in seconds; shown for others' sessions to `pg_read_all_stats` only.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub seconds: Option<i64>,
    /// Tells a transaction from a later one of the same process.
    #[diesel(sql_type = Text)]
    pub transaction: String,
}

/// The transactions with snapshots at one instant.
#[derive(Clone, Debug)]
pub struct Snapshots {
    /// Transactions from this one on, by number, had not begun.
    horizon: String,
    /// Those before this one, by number, had ended.
    ended: String,
    /// Who had a snapshot.
    held: Vec<String>,
}

/// Who has locks on these relations, their partitions and indexes.
///
/// # Errors
/// [`DbError`].
pub async fn holders(conn: &mut Connection, relations: &[&str]) -> Result<Vec<Holder>, DbError> {
    sql_query(HOLDERS).bind::<Array<Text>, _>(relations).load(conn).await.map_err(DbError::during("reading locks"))
}

/// Who has a snapshot of this database now.
///
/// # Errors
/// [`DbError`].
pub async fn snapshots(conn: &mut Connection) -> Result<Snapshots, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        horizon: String,
        #[diesel(sql_type = Text)]
        ended: String,
    }
    let during = DbError::during("reading who has a snapshot");
    // First: whoever takes a snapshot between the two is not older.
    let row: Row = sql_query(
        "SELECT pg_snapshot_xmax(s)::xid::text AS horizon, pg_snapshot_xmin(s)::xid::text AS ended \
         FROM pg_current_snapshot() AS s",
    )
    .get_result(conn)
    .await
    .map_err(&during)?;
    let held: Vec<Holder> =
        sql_query(format!("{SNAPSHOTS} ORDER BY age(a.backend_xmin) DESC, a.pid")).load(conn).await.map_err(during)?;
    Ok(Snapshots {
        horizon: row.horizon,
        ended: row.ended,
        held: held.into_iter().map(|holder| holder.transaction).collect(),
    })
}

/// Who has still a snapshot from before that instant.
///
/// A number below the horizon alone does not tell: while a transaction runs that writes, in whatever database, new
/// snapshots have its number too. What tells is that the transaction was there, or a number that was over by then.
///
/// # Errors
/// [`DbError`].
pub async fn still_held(conn: &mut Connection, before: &Snapshots) -> Result<Vec<Holder>, DbError> {
    sql_query(format!(
        "{SNAPSHOTS} AND age(a.backend_xmin) > age($1::xid) \
         AND (l.virtualtransaction = ANY ($3) OR age(a.backend_xmin) > age($2::xid)) \
         ORDER BY age(a.backend_xmin) DESC, a.pid"
    ))
    .bind::<Text, _>(&before.horizon)
    .bind::<Text, _>(&before.ended)
    .bind::<Array<Text>, _>(&before.held)
    .load(conn)
    .await
    .map_err(DbError::during("reading who has a snapshot"))
}

/// pg_stat_activity shows to everybody who has a snapshot. Autovacuum has no user, and no vacuum reads the view.
const SNAPSHOTS: &str = "\
    SELECT a.pid, NULL::text AS prepared, \
        coalesce(a.usename, '?') || coalesce(', ' || nullif(a.application_name, ''), '') AS who, \
        'a snapshot from before' AS what, extract(epoch FROM clock_timestamp() - a.xact_start)::bigint AS seconds, \
        l.virtualtransaction AS transaction \
    FROM pg_stat_activity AS a \
    JOIN pg_locks AS l ON l.pid = a.pid AND l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted \
    WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.usesysid IS NOT NULL \
        AND a.backend_xmin IS NOT NULL AND a.pid NOT IN (SELECT v.pid FROM pg_stat_progress_vacuum AS v)";

const HOLDERS: &str = "\
    WITH named AS ( \
        SELECT to_regclass(n)::oid AS oid FROM unnest($1) AS n \
    ), tables AS ( \
        SELECT oid FROM named UNION SELECT h.inhrelid FROM pg_inherits AS h JOIN named AS n ON n.oid = h.inhparent \
    ), ours AS ( \
        SELECT oid FROM tables UNION SELECT i.indexrelid FROM pg_index AS i JOIN tables AS t ON t.oid = i.indrelid \
    ), strongest AS ( \
        SELECT DISTINCT ON (l.virtualtransaction) l.pid, l.virtualtransaction, l.mode || ' on ' || c.relname AS what \
        FROM pg_locks AS l JOIN ours AS o ON o.oid = l.relation JOIN pg_class AS c ON c.oid = o.oid \
        JOIN pg_database AS d ON d.oid = l.database \
        WHERE d.datname = current_database() AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid() \
        ORDER BY l.virtualtransaction, array_position(ARRAY['AccessShareLock', 'RowShareLock', 'RowExclusiveLock', \
            'ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'], \
            l.mode) DESC, c.relname \
    ) \
    SELECT s.pid, p.gid AS prepared, \
        coalesce(a.usename, p.owner, '?') || coalesce(', ' || nullif(a.application_name, ''), '') AS who, \
        s.what, extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, p.prepared))::bigint AS seconds, \
        s.virtualtransaction AS transaction \
    FROM strongest AS s LEFT JOIN pg_stat_activity AS a ON a.pid = s.pid \
    LEFT JOIN pg_locks AS x ON s.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid' \
        AND x.virtualtransaction = s.virtualtransaction \
    LEFT JOIN pg_prepared_xacts AS p ON p.transaction = x.transactionid \
    WHERE s.pid IS NULL OR a.usesysid IS NOT NULL ORDER BY seconds DESC NULLS LAST, s.pid";
