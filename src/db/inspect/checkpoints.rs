//! What of the audit log is not signed.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};
use diesel_async::RunQueryDsl;

use crate::db::{Connection, DbError};

/// How far the log is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct Unsigned {
    /// The last entry that is; 0 where none is.
    #[diesel(sql_type = BigInt)]
    pub signed_seq: i64,
    /// How many came after it.
    #[diesel(sql_type = BigInt)]
    pub entries: i64,
    /// For how long the first of them has waited; 0 where there is none.
    #[diesel(sql_type = BigInt)]
    pub seconds: i64,
    /// Whether reading waits for it.
    #[diesel(sql_type = Bool)]
    pub required: bool,
}

/// Looks.
///
/// # Errors
/// [`DbError`].
pub async fn unsigned(conn: &mut Connection) -> Result<Unsigned, DbError> {
    let sql = "SELECT s.signed_seq, (SELECT count(*) FROM pii_vault.audit_log AS u WHERE u.seq > s.signed_seq) AS entries, \
                 coalesce(extract(epoch FROM clock_timestamp() - l.at)::bigint, 0) AS seconds, \
                 coalesce((SELECT p.checkpoints = 'required' FROM pii_vault.access_policy AS p \
                           ORDER BY p.seq DESC LIMIT 1), false) AS required \
               FROM (SELECT coalesce(max(seq), 0) AS signed_seq FROM pii_vault.checkpoints) AS s \
               LEFT JOIN LATERAL (SELECT u.at FROM pii_vault.audit_log AS u WHERE u.seq > s.signed_seq \
                                  ORDER BY u.seq LIMIT 1) AS l ON true";
    diesel::sql_query(sql).get_result(conn).await.map_err(DbError::during("looking for entries that are not signed"))
}
