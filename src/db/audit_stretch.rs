//! Parts of the audit log, for who exports one.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Timestamptz};
use diesel_async::RunQueryDsl;

use super::audit_log::{COLUMNS, EntryRow, to_postgres};
use super::{Connection, DbError};
use crate::domain::audit::{Entry, UnixMicros};

/// The first and the last entry of a stretch of time: all between them is in it, but where a clock was set back. Where
/// nothing is, the last is the one before the first.
///
/// # Errors
/// [`DbError`].
pub async fn stretch(
    conn: &mut Connection,
    since: Option<UnixMicros>,
    until: Option<UnixMicros>,
) -> Result<(i64, i64), DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        first: i64,
        #[diesel(sql_type = BigInt)]
        last: i64,
    }
    let row: Row = sql_query(
        "SELECT s.first, greatest(s.first - 1, \
             CASE WHEN $2 IS NULL THEN h.seq \
                  ELSE (SELECT max(seq) FROM pii_vault.audit_log WHERE at < $2) END) AS last \
         FROM pii_vault.audit_head AS h CROSS JOIN LATERAL ( \
             SELECT CASE WHEN $1 IS NULL THEN 1 \
                    ELSE coalesce((SELECT min(seq) FROM pii_vault.audit_log WHERE at >= $1), h.seq + 1) END AS first \
         ) AS s",
    )
    .bind::<Nullable<Timestamptz>, _>(since.map(to_postgres))
    .bind::<Nullable<Timestamptz>, _>(until.map(to_postgres))
    .get_result(conn)
    .await
    .map_err(DbError::during("reading the audit log"))?;
    Ok((row.first, row.last))
}

/// The last entry before a number; `None`: there is none.
///
/// # Errors
/// [`DbError`].
pub async fn before(conn: &mut Connection, seq: i64) -> Result<Option<Entry>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM pii_vault.audit_log WHERE seq > 0 AND seq < $1 ORDER BY seq DESC LIMIT 1");
    let row: Option<EntryRow> = sql_query(sql)
        .bind::<BigInt, _>(seq)
        .get_result(conn)
        .await
        .optional()
        .map_err(DbError::during("reading the audit log"))?;
    row.map(Entry::try_from).transpose()
}
