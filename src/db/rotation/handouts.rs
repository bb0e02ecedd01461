//! What is handed out of a rotation beside the pages of its work, samples and maps of tokens: record → [`arm`] → fetch.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::committed::committed;
use crate::db::{Connection, DbError};

/// Notes where the write-ahead log stands now that the record is committed, and tells its entry of the audit log.
///
/// # Errors
/// [`DbError`].
pub async fn arm(conn: &mut Connection, handout: Uuid) -> Result<i64, DbError> {
    #[derive(QueryableByName)]
    struct Armed {
        #[diesel(sql_type = BigInt)]
        seq: i64,
    }
    let armed: Armed = sql_query("SELECT pii_vault.arm_handout($1) AS seq")
        .bind::<SqlUuid, _>(handout)
        .load(conn)
        .await
        .and_then(committed)
        .map_err(DbError::during("arming what is to be handed out"))?;
    Ok(armed.seq)
}
