//! Rotation of the token key: a pending key in the other slot, the rows that lack its tokens, and what they show once
//! all have them.

pub mod cut_over;
mod left;
mod report;
mod retire;
mod row;
pub mod token_map;

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Date as SqlDate, Interval, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

pub use left::{TokensLeft, left};
pub use report::{TokenDifference, TokenReport, differences, report};
pub use retire::{Retirement, decrypt_only, retire};
use row::FetchedRow;
pub use row::{TokenRow, Tokens};

use crate::crypto::Commitment;
use crate::db::committed::committed;
use crate::db::dead_letters::interval;
use crate::db::error::word;
use crate::db::rotation::{Position, Range};
use crate::db::{Connection, DbError};
use crate::domain::KeyId;

/// A token key to rotate to.
#[derive(Debug)]
pub struct NextTokenKey<'a> {
    /// Its id, which stands in its encryption context.
    pub id: KeyId,
    /// The KMS ciphertext blob.
    pub wrapped_key: &'a [u8],
    /// ARN of the KMS key that wraps it.
    pub kms_key: &'a str,
    /// What it must unwrap to.
    pub commitment: &'a Commitment,
}

/// Which key is to be left, and whether now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leave {
    /// This one, whatever its age.
    pub key: Option<Uuid>,
    /// Whichever is in use, where it was made longer ago than this.
    pub max_age: Option<Duration>,
}

/// Why no rotation of the token key begins, or why nothing is told of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenRefusal {
    /// Another is not done.
    Unfinished,
    /// Rows have tokens in the slot of the next key.
    SlotInUse,
    /// A batch has held the token keys for some seconds.
    KeysHeld,
    /// The key that is named is not the one in use.
    OtherKey,
    /// Its rows are not all filled yet, or not any more.
    NotFilled,
    /// Somebody finished it or rolled it back while it was worked on.
    Over,
}

/// What fills a row.
#[derive(Clone)]
pub struct Filling {
    /// Its primary key.
    pub position: Position,
    /// Token of the ip.
    pub ip: String,
    /// Token of the device id.
    pub device_id: String,
}

/// Whether [`record`] would begin a rotation, as far as it is about the key that is left: for who has to make a key
/// first.
///
/// # Errors
/// [`DbError`].
pub async fn is_due(conn: &mut Connection, leave: Leave) -> Result<Result<bool, TokenRefusal>, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = Bool)]
        is_old: bool,
    }
    let sql = "SELECT id, coalesce(created_at < clock_timestamp() - $1, true) AS is_old FROM pii_vault.token_keys \
               WHERE state = 'active'";
    let active: Row = sql_query(sql)
        .bind::<Nullable<Interval>, _>(leave.max_age.map(interval))
        .get_result(conn)
        .await
        .map_err(DbError::during("reading the token key in use"))?;
    Ok(match leave.key {
        Some(key) if key != active.id => Err(TokenRefusal::OtherKey),
        Some(_) => Ok(true),
        None => Ok(active.is_old),
    })
}

/// Records a rotation to a key that ingestion fills the other slot with from now on; committed when it returns. `None`:
/// the key in use is too young to be left.
///
/// # Errors
/// [`DbError`].
pub async fn record(
    conn: &mut Connection,
    key: &NextTokenKey<'_>,
    leave: Leave,
    reason: &str,
) -> Result<Result<Option<Uuid>, TokenRefusal>, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<SqlUuid>)]
        id: Option<Uuid>,
    }
    let recorded = sql_query("SELECT pii_vault.record_token_rotation($1, $2, $3, $4, $5, $6, $7) AS id")
        .bind::<SqlUuid, _>(key.id.0)
        .bind::<Binary, _>(key.wrapped_key)
        .bind::<Text, _>(key.kms_key)
        .bind::<Binary, _>(key.commitment.as_bytes())
        .bind::<Text, _>(reason)
        .bind::<Nullable<SqlUuid>, _>(leave.key)
        .bind::<Nullable<Interval>, _>(leave.max_age.map(interval))
        .load(conn)
        .await
        .and_then(committed);
    or_refused(recorded.map(|row: Row| row.id), "recording a rotation of the token key")
}

/// The rows of a claimed page that lack tokens of the new key, in order.
///
/// # Errors
/// [`DbError`].
pub async fn fetch(conn: &mut Connection, job: Uuid, range: Range) -> Result<Vec<TokenRow>, DbError> {
    let (after_day, after_id) = range.after.unzip();
    let rows: Vec<FetchedRow> = sql_query("SELECT * FROM pii_vault.fetch_backfill($1, $2, $3, $4, $5)")
        .bind::<SqlUuid, _>(job)
        .bind::<Nullable<SqlDate>, _>(after_day)
        .bind::<Nullable<SqlUuid>, _>(after_id)
        .bind::<SqlDate, _>(range.through.0)
        .bind::<SqlUuid, _>(range.through.1)
        .load(conn)
        .await
        .map_err(DbError::during("fetching rows to fill"))?;
    Ok(rows.into_iter().map(TokenRow::from).collect())
}

/// Fills rows that are not filled yet, and says how many. `None`: the key is not pending any more. Call it in one
/// transaction with [`super::settle`].
///
/// # Errors
/// [`DbError`].
pub async fn store(conn: &mut Connection, job: Uuid, fillings: &[Filling]) -> Result<Option<u64>, DbError> {
    #[derive(QueryableByName)]
    struct Stored {
        #[diesel(sql_type = Nullable<BigInt>)]
        stored: Option<i64>,
    }
    let row: Stored = sql_query("SELECT pii_vault.store_backfill($1, $2, $3, $4, $5) AS stored")
        .bind::<SqlUuid, _>(job)
        .bind::<Array<SqlDate>, _>(fillings.iter().map(|row| row.position.0).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(fillings.iter().map(|row| row.position.1).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(fillings.iter().map(|row| row.ip.as_str()).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(fillings.iter().map(|row| row.device_id.as_str()).collect::<Vec<_>>())
        .get_result(conn)
        .await
        .map_err(DbError::during("filling rows"))?;
    Ok(row.stored.map(i64::unsigned_abs))
}

/// Lets rows that did not open be tried once more, and says how many there are.
///
/// # Errors
/// [`DbError`].
pub async fn retry(conn: &mut Connection, job: Uuid, reason: &str) -> Result<u64, DbError> {
    #[derive(QueryableByName)]
    struct Again {
        #[diesel(sql_type = BigInt)]
        again: i64,
    }
    let row: Again = sql_query("SELECT pii_vault.retry_backfill($1, $2) AS again")
        .bind::<SqlUuid, _>(job)
        .bind::<Text, _>(reason)
        .load(conn)
        .await
        .and_then(committed)
        .map_err(DbError::during("trying rows once more"))?;
    Ok(row.again.unsigned_abs())
}

/// A refusal by its word, which stands where PostgreSQL names a constraint.
pub(super) fn or_refused<T>(
    result: QueryResult<T>,
    statement: &'static str,
) -> Result<Result<T, TokenRefusal>, DbError> {
    let error = match result {
        Ok(value) => return Ok(Ok(value)),
        Err(error) => error,
    };
    match word(&error) {
        // The second: two that began at once.
        Some("unfinished_rotation" | "rotation_jobs_one_unfinished") => Ok(Err(TokenRefusal::Unfinished)),
        Some("slot_in_use") => Ok(Err(TokenRefusal::SlotInUse)),
        Some("keys_are_held") => Ok(Err(TokenRefusal::KeysHeld)),
        Some("not_the_active_key") => Ok(Err(TokenRefusal::OtherKey)),
        Some("not_filled") => Ok(Err(TokenRefusal::NotFilled)),
        _ => Err(DbError::during(statement)(error)),
    }
}

#[derive(QueryableByName)]
pub(super) struct IdRow {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
}
