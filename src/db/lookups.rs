//! Values to tokens: the token key comes out against a recorded, committed receipt alone.
//!
//! [`record`] → [`arm_receipt`](super::receipts::arm_receipt) → [`fetch_token_keys`] → [`settle`], a transaction each;
//! the database refuses any other order, whoever asks.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Integer, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::committed::committed;
use super::enums::sql;
use super::token_keys::TokenKeyRow;
use super::{Connection, DbError};
use crate::domain::Field;

/// The most values of one look-up; the database takes no more.
pub const LOOKUP_VALUES: usize = 10_000;

/// Records that `values` values of a field are to be turned into tokens, and why; committed when it returns. What was
/// decided, arming tells.
///
/// # Errors
/// [`DbError`].
pub async fn record(
    conn: &mut Connection,
    field: Field,
    values: usize,
    reason: &str,
    case: &str,
) -> Result<Uuid, DbError> {
    #[derive(QueryableByName)]
    struct Receipt {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    let receipt: Receipt = sql_query("SELECT pii_vault.record_lookup($1, $2, $3, $4) AS id")
        .bind::<sql::SealedField, _>(field)
        .bind::<Integer, _>(i32::try_from(values).unwrap_or(i32::MAX))
        .bind::<Text, _>(reason)
        .bind::<Text, _>(case)
        .load(conn)
        .await
        .and_then(committed)
        .map_err(DbError::during("recording a look-up"))?;
    Ok(receipt.id)
}

/// The token key that the view shows the tokens of, wrapped, for an armed look-up.
///
/// # Errors
/// [`DbError`], with [`DbError::refusal`] where nothing is handed out.
pub async fn fetch_token_keys(conn: &mut Connection, receipt: Uuid) -> Result<Vec<TokenKeyRow>, DbError> {
    sql_query("SELECT id, slot, wrapped_key, kms_key, commitment FROM pii_vault.fetch_token_keys($1)")
        .bind::<SqlUuid, _>(receipt)
        .load(conn)
        .await
        .map_err(DbError::during("fetching the token key"))
}

/// Says which tokens came of it. They may be shown once it returns: it is committed then, and on disk.
///
/// # Errors
/// [`DbError`]; whether it is recorded is then not known.
pub async fn settle(conn: &mut Connection, receipt: Uuid, tokens: &[String]) -> Result<(), DbError> {
    // `execute` waits for PostgreSQL's last word, which comes after the commit; the first row would come before it.
    sql_query("SELECT pii_vault.settle_lookup($1, $2)")
        .bind::<SqlUuid, _>(receipt)
        .bind::<Array<Text>, _>(tokens)
        .execute(conn)
        .await
        .map_err(DbError::during("recording the tokens"))?;
    Ok(())
}
