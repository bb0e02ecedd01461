//! What tells that a dump was restored, or an older database put back.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};
use diesel_async::RunQueryDsl;

use crate::db::{Connection, DbError};

/// What cannot be in a database that was never put back. None of it is there: it may have been all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct Signs {
    /// Receipts, redrive jobs and rotations of transactions that this cluster has not come to yet, but for those that
    /// were closed since, when the log was brought back into service.
    #[diesel(sql_type = BigInt)]
    pub from_the_future: i64,
    /// The last checkpoint's entry, where the log ends before it.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub signed_beyond: Option<i64>,
    /// The last entry by which an older state was brought back into service.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub resumed: Option<i64>,
}

/// Looks.
///
/// # Errors
/// [`DbError`].
pub async fn signs(conn: &mut Connection) -> Result<Signs, DbError> {
    let sql = "SELECT (SELECT count(*) FROM pii_vault.receipts \
                         WHERE recorded_by >= now.xmax AND (now.resumed IS NULL OR seq > now.resumed)) \
                     + (SELECT count(*) FROM pii_vault.redrive_jobs \
                         WHERE recorded_by >= now.xmax AND (now.resumed IS NULL OR seq > now.resumed)) \
                     + (SELECT count(*) FROM pii_vault.rotation_jobs \
                         WHERE recorded_by >= now.xmax AND (now.resumed IS NULL OR seq > now.resumed)) AS from_the_future, \
                 (SELECT max(c.seq) FROM pii_vault.checkpoints AS c, pii_vault.audit_head AS h WHERE c.seq > h.seq) \
                 AS signed_beyond, now.resumed \
               FROM (SELECT pg_snapshot_xmax(pg_current_snapshot()) AS xmax, \
                 (SELECT max(l.seq) FROM pii_vault.audit_log AS l WHERE l.action::text = 'restored') AS resumed) AS now";
    diesel::sql_query(sql).get_result(conn).await.map_err(DbError::during("looking for what was put back"))
}
