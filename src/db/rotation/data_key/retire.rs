//! What becomes of data keys that were left: how many rows still name them, and their retirement.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::committed::committed;
use crate::db::enums::sql;
use crate::db::{Connection, DbError};
use crate::domain::KeyState;

/// A data key, and how many rows name it.
#[derive(Clone, Debug, QueryableByName)]
pub struct KeyRows {
    /// The key.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// What it may be used for; `None`: there is no such key, though rows may name it.
    #[diesel(sql_type = Nullable<sql::KeyState>)]
    pub state: Option<KeyState>,
    /// Rows of `login_events`.
    #[diesel(sql_type = BigInt)]
    pub row_count: i64,
    /// Rows that were set aside.
    #[diesel(sql_type = BigInt)]
    pub set_aside: i64,
}

/// The keys that a rotation leaves; without one, all that are decrypt-only.
///
/// # Errors
/// [`DbError`].
pub async fn count(conn: &mut Connection, job: Option<Uuid>) -> Result<Vec<KeyRows>, DbError> {
    sql_query("SELECT * FROM pii_vault.count_reseal($1)")
        .bind::<Nullable<SqlUuid>, _>(job)
        .load(conn)
        .await
        .map_err(DbError::during("counting rows by data key"))
}

/// Retires `keys`; without them, each decrypt-only key that no event names. Tells how each of them stands then: where
/// one of `keys` could not be retired, none was.
///
/// # Errors
/// [`DbError`].
pub async fn retire(conn: &mut Connection, keys: Option<&[Uuid]>, reason: &str) -> Result<Vec<KeyRows>, DbError> {
    sql_query("SELECT * FROM pii_vault.retire_data_keys($1, $2)")
        .bind::<Nullable<Array<SqlUuid>>, _>(keys)
        .bind::<Text, _>(reason)
        .load(conn)
        .await
        .map_err(DbError::during("retiring data keys"))
}

/// Takes the rows that a rotation passed over out of `login_events`, and says how many. `None`: the rotation is not
/// done, or none of data keys. For the owner alone.
///
/// # Errors
/// [`DbError`].
pub async fn set_aside(conn: &mut Connection, job: Uuid, reason: &str) -> Result<Option<i64>, DbError> {
    #[derive(QueryableByName)]
    struct Moved {
        #[diesel(sql_type = Nullable<BigInt>)]
        rows: Option<i64>,
    }
    let moved: Moved = sql_query("SELECT pii_vault.set_aside_reseal($1, $2) AS rows")
        .bind::<SqlUuid, _>(job)
        .bind::<Text, _>(reason)
        .load(conn)
        .await
        .and_then(committed)
        .map_err(DbError::during("setting events aside"))?;
    Ok(moved.rows)
}
