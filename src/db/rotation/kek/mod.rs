//! Rotations of kind `kek`: wrapped keys, and what wraps them.
//!
//! [`record()`] → [`arm`](super::arm) → [`claim`](super::claim) → [`fetch`] → [`store`] and [`settle`](super::settle),
//! the latter two in one transaction. [`retire()`] ends the use of a KMS key that is left.

mod record;
mod retire;
mod verify;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Binary, Date as SqlDate, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use time::Date;
use uuid::Uuid;

pub use record::{Recorded, Refusal, Which, plan, record};
pub use retire::{Retirement, retire};
pub use verify::{Wrapping, sample, wrapping};

use crate::db::rotation::{Position, Range};
use crate::db::{Connection, DbError};
use crate::domain::KeyId;

/// A wrapped key, as KMS is given it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapped {
    /// When it was made (UTC), and its id.
    pub position: Position,
    /// The KMS ciphertext blob.
    pub wrapped_key: Vec<u8>,
    /// ARN of the KMS key that wraps it.
    pub kms_key: String,
}

/// A key that KMS wrapped anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The key.
    pub id: KeyId,
    /// The blob that KMS was given.
    pub old: Vec<u8>,
    /// The blob that it returned.
    pub new: Vec<u8>,
    /// ARN of the KMS key that wraps it now.
    pub kms_key: String,
}

impl Wrapped {
    /// Which key.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId(self.position.1)
    }
}

/// The keys of a claimed page that are left; those that were found wanting are not among them.
///
/// # Errors
/// [`DbError`].
pub async fn fetch(conn: &mut Connection, job: Uuid, range: Range) -> Result<Vec<Wrapped>, DbError> {
    let (after_day, after_id) = range.after.unzip();
    let rows: Vec<WrappedRow> = sql_query("SELECT * FROM pii_vault.fetch_rewrap($1, $2, $3, $4, $5)")
        .bind::<SqlUuid, _>(job)
        .bind::<Nullable<SqlDate>, _>(after_day)
        .bind::<Nullable<SqlUuid>, _>(after_id)
        .bind::<SqlDate, _>(range.through.0)
        .bind::<SqlUuid, _>(range.through.1)
        .load(conn)
        .await
        .map_err(DbError::during("fetching wrapped keys"))?;
    Ok(rows.into_iter().map(Wrapped::from).collect())
}

/// Stores keys that KMS wrapped anew, where they are still wrapped as they were; returns how many. Call it before
/// [`super::settle`], in its transaction.
///
/// # Errors
/// [`DbError`].
pub async fn store(conn: &mut Connection, job: Uuid, keys: &[Changed]) -> Result<u64, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        changed: i64,
    }
    let row: Row = sql_query("SELECT pii_vault.store_rewrap($1, $2, $3, $4, $5) AS changed")
        .bind::<SqlUuid, _>(job)
        .bind::<Array<SqlUuid>, _>(keys.iter().map(|key| key.id.0).collect::<Vec<_>>())
        .bind::<Array<Binary>, _>(keys.iter().map(|key| key.old.as_slice()).collect::<Vec<_>>())
        .bind::<Array<Binary>, _>(keys.iter().map(|key| key.new.as_slice()).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(keys.iter().map(|key| key.kms_key.as_str()).collect::<Vec<_>>())
        .get_result(conn)
        .await
        .map_err(DbError::during("storing wrapped keys"))?;
    Ok(row.changed.unsigned_abs())
}

#[derive(QueryableByName)]
struct WrappedRow {
    #[diesel(sql_type = SqlDate)]
    key_day: Date,
    #[diesel(sql_type = SqlUuid)]
    key_id: Uuid,
    #[diesel(sql_type = Binary)]
    wrapped_key: Vec<u8>,
    #[diesel(sql_type = Text)]
    kms_key: String,
}

impl From<WrappedRow> for Wrapped {
    fn from(row: WrappedRow) -> Self {
        Self { position: (row.key_day, row.key_id), wrapped_key: row.wrapped_key, kms_key: row.kms_key }
    }
}
