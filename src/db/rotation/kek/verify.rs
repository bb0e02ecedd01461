use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Integer, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use time::OffsetDateTime;

use super::{Wrapped, WrappedRow};
use crate::db::enums::sql;
use crate::db::{Connection, DbError};
use crate::domain::Purpose;

/// A KMS key, and what it wraps of a purpose; keys that are retired do not count.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Wrapping {
    /// Its ARN.
    #[diesel(sql_type = Text)]
    pub kms_key: String,
    /// How many keys.
    #[diesel(sql_type = BigInt)]
    pub key_count: i64,
    /// When it wrapped the one that it wrapped the longest ago.
    #[diesel(sql_type = Timestamptz)]
    pub wrapped_first: OffsetDateTime,
}

/// Wrapped keys of a purpose, chosen at random; 10,000 at most.
///
/// # Errors
/// [`DbError`].
pub async fn sample(conn: &mut Connection, purpose: Purpose, most: i32) -> Result<Vec<Wrapped>, DbError> {
    let rows: Vec<WrappedRow> = sql_query("SELECT * FROM pii_vault.sample_wrapped_keys($1, $2)")
        .bind::<sql::KeyPurpose, _>(purpose)
        .bind::<Integer, _>(most)
        .load(conn)
        .await
        .map_err(DbError::during("sampling wrapped keys"))?;
    Ok(rows.into_iter().map(Wrapped::from).collect())
}

/// What wraps the keys of a purpose.
///
/// # Errors
/// [`DbError`].
pub async fn wrapping(conn: &mut Connection, purpose: Purpose) -> Result<Vec<Wrapping>, DbError> {
    sql_query("SELECT kms_key, key_count, wrapped_first FROM pii_vault.wrapping_kms_keys($1)")
        .bind::<sql::KeyPurpose, _>(purpose)
        .load(conn)
        .await
        .map_err(DbError::during("counting wrapped keys"))
}
