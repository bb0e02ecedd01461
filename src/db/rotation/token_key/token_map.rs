//! Old tokens and new ones side by side, for who stored tokens elsewhere: record →
//! [`arm`](crate::db::rotation::handouts::arm) → fetch, a transaction each; the database refuses any other order,
//! whoever asks.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{IdRow, TokenRefusal, or_refused};
use crate::db::committed::committed;
use crate::db::enums::sql;
use crate::db::{Connection, DbError};
use crate::domain::Field;

/// An old token and the new one of the same value.
#[derive(Clone, QueryableByName)]
pub struct TokenPair {
    /// Of the old key.
    #[diesel(sql_type = Text)]
    pub old_token: String,
    /// Of the new key.
    #[diesel(sql_type = Text)]
    pub new_token: String,
}

/// Records that the tokens of a rotation are to go out; committed when it returns.
///
/// # Errors
/// [`DbError`].
pub async fn record(conn: &mut Connection, job: Uuid, reason: &str) -> Result<Result<Uuid, TokenRefusal>, DbError> {
    let recorded = sql_query("SELECT pii_vault.record_token_map($1, $2) AS id")
        .bind::<SqlUuid, _>(job)
        .bind::<Text, _>(reason)
        .load(conn)
        .await
        .and_then(committed);
    or_refused(recorded.map(|row: IdRow| row.id), "recording an export of tokens")
}

/// The next 5,000 distinct pairs of a field, in the order of the old tokens. None: there are no more.
///
/// # Errors
/// [`DbError`], with [`DbError::refusal`] where nothing is handed out.
pub async fn fetch(
    conn: &mut Connection,
    map: Uuid,
    field: Field,
    after: Option<&TokenPair>,
) -> Result<Vec<TokenPair>, DbError> {
    let (after_old, after_new) = after.map_or(("", ""), |pair| (&pair.old_token, &pair.new_token));
    sql_query("SELECT * FROM pii_vault.fetch_token_map($1, $2, $3, $4)")
        .bind::<SqlUuid, _>(map)
        .bind::<sql::SealedField, _>(field)
        .bind::<Text, _>(after_old)
        .bind::<Text, _>(after_new)
        .load(conn)
        .await
        .map_err(DbError::during("fetching tokens"))
}

impl std::fmt::Debug for TokenPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenPair([redacted])")
    }
}
