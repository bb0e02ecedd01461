//! What `doctor` asks of the catalog and the tables. Nothing here changes anything.
//!
//! Answers name roles, tables, columns, processes and counts; never a value of a row, but for ids of keys.

pub mod access;
pub mod blockers;
pub mod checkpoints;
pub mod contents;
pub mod restored;
pub mod rotation;
pub mod server;

use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection as _};

use super::{Connection, DbError};

/// Keeps every question short: 2 s for a lock, 10 s in all. Names what it does to whoever looks.
///
/// # Errors
/// [`DbError`].
pub async fn limit(conn: &mut Connection) -> Result<(), DbError> {
    conn.batch_execute("SET lock_timeout = '2s'; SET statement_timeout = '10s'; SET \"TimeZone\" = 'UTC'")
        .await
        .map_err(DbError::during("limiting the time of a check"))
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// The one column `line` of a query.
async fn lines(conn: &mut Connection, what: &'static str, sql: &str) -> Result<Vec<String>, DbError> {
    let rows: Vec<Line> = diesel::sql_query(sql).load(conn).await.map_err(DbError::during(what))?;
    Ok(rows.into_iter().map(|row| row.line).collect())
}
