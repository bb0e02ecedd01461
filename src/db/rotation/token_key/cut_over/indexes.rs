use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection as _};

use crate::db::enums::sql;
use crate::db::{Connection, DbError};
use crate::domain::TokenSlot;

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
