use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection as _};

use super::Holder;
use crate::db::enums::sql;
use crate::db::{Connection, DbError};
use crate::domain::TokenSlot;

/// Of sessions that build indexes, one at a time: by the table and 1.
const TURN: &str = "'pii_vault.login_events'::regclass::oid::integer, 1";

/// How far the indexes of a slot are.
#[derive(Clone, Debug, QueryableByName)]
pub struct IndexStep {
    /// What comes next, for [`run_index`]; `None`: the slot is indexed.
    #[diesel(sql_type = Nullable<Text>)]
    pub statement: Option<String>,
    /// Indexes of partitions that are part of the whole.
    #[diesel(sql_type = BigInt)]
    pub built: i64,
    /// Those that there are to be: two for each partition.
    #[diesel(sql_type = BigInt)]
    pub total: i64,
}

/// Takes the turn to build indexes, which ends with [`give_turn`] or the session: whoever else builds would be taken
/// for one that was interrupted, and what it builds be dropped. `false`: another session has it.
///
/// # Errors
/// [`DbError`].
pub async fn take_turn(conn: &mut Connection) -> Result<bool, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        taken: bool,
    }
    let row: Row = sql_query(format!("SELECT pg_try_advisory_lock({TURN}) AS taken"))
        .get_result(conn)
        .await
        .map_err(DbError::during("taking the turn to index a token slot"))?;
    Ok(row.taken)
}

/// Lets others build.
///
/// # Errors
/// [`DbError`].
pub async fn give_turn(conn: &mut Connection) -> Result<(), DbError> {
    sql_query(format!("SELECT pg_advisory_unlock({TURN})"))
        .execute(conn)
        .await
        .map_err(DbError::during("giving the turn to index a token slot"))?;
    Ok(())
}

/// Who has the turn.
///
/// # Errors
/// [`DbError`].
pub async fn turn_holders(conn: &mut Connection) -> Result<Vec<Holder>, DbError> {
    sql_query(
        "SELECT l.pid, NULL::text AS prepared, \
             coalesce(a.usename, '?') || coalesce(', ' || nullif(a.application_name, ''), '') AS who, \
             'the turn to build indexes' AS what, NULL::bigint AS seconds, l.virtualtransaction AS transaction \
         FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid \
         WHERE l.locktype = 'advisory' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND l.classid = 'pii_vault.login_events'::regclass AND l.objid = 1 AND l.objsubid = 2 AND l.granted \
             AND l.pid <> pg_backend_pid()",
    )
    .load(conn)
    .await
    .map_err(DbError::during("reading who builds indexes"))
}

/// What is to be done next for the indexes of `slot`, new partitions and what an interrupted build left included.
///
/// # Errors
/// [`DbError`].
pub async fn next_index(conn: &mut Connection, slot: TokenSlot) -> Result<IndexStep, DbError> {
    sql_query("SELECT statement, built, total FROM pii_vault.next_index($1)")
        .bind::<sql::TokenSlot, _>(slot)
        .get_result(conn)
        .await
        .map_err(DbError::during("reading the indexes of a token slot"))
}

/// Runs a statement of [`IndexStep`], outside of a transaction.
///
/// A concurrent one waits for other transactions without holding anybody up, for as long as `patience`; the others wait
/// 2 s.
///
/// # Errors
/// [`DbError`]; a wait that was too long is one, for diesel does not tell it from others.
pub async fn run_index(conn: &mut Connection, statement: &str, patience: Duration) -> Result<(), DbError> {
    let wait = if statement.contains(" CONCURRENTLY ") { patience.as_millis().max(1) } else { 2000 };
    let during = DbError::during("indexing a token slot");
    conn.batch_execute(&format!("SET lock_timeout = {wait}")).await.map_err(&during)?;
    let ran = conn.batch_execute(statement).await.map_err(&during);
    conn.batch_execute("RESET lock_timeout").await.map_err(&during)?;
    ran
}
