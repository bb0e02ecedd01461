use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::{Connection, DbError};

/// How all rows stand to the two keys of a rotation that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct TokensLeft {
    /// Rows.
    #[diesel(sql_type = BigInt)]
    pub row_count: i64,
    /// Rows that have tokens of the key that was given up, in whichever slot.
    #[diesel(sql_type = BigInt)]
    pub of_given_up: i64,
    /// Rows that have no tokens of the key that stays.
    #[diesel(sql_type = BigInt)]
    pub without_kept: i64,
    /// Rows that name other token keys; a pending one is the next rotation's, and does not count.
    #[diesel(sql_type = BigInt)]
    pub of_other_keys: i64,
    /// Rows that did not open: their tokens stand in for those of their values.
    #[diesel(sql_type = BigInt)]
    pub not_opened: i64,
}

impl TokensLeft {
    /// Whether every row has tokens of the key that stays, and of no other.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.of_given_up + self.without_kept + self.of_other_keys == 0
    }
}

/// Counts what a rotation left behind. It reads the whole table once.
///
/// # Errors
/// [`DbError`].
pub async fn left(conn: &mut Connection, job: Uuid) -> Result<TokensLeft, DbError> {
    sql_query("SELECT * FROM pii_vault.count_given_up($1)")
        .bind::<SqlUuid, _>(job)
        .get_result(conn)
        .await
        .map_err(DbError::during("counting tokens of a key that was given up"))
}
