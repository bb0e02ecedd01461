use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Double, Integer, Interval, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::db::dead_letters::interval;
use crate::db::enums::sql;
use crate::db::{Connection, DbError};
use crate::domain::{KeyState, Purpose, TokenSlot};

/// Keys of one purpose and state, under one KMS key.
#[derive(Clone, Debug, QueryableByName)]
pub struct KeyGroup {
    /// What they are for.
    #[diesel(sql_type = sql::KeyPurpose)]
    pub purpose: Purpose,
    /// `None`: rows name them, and they are not there.
    #[diesel(sql_type = Nullable<sql::KeyState>)]
    pub state: Option<KeyState>,
    /// Of token keys.
    #[diesel(sql_type = Nullable<sql::TokenSlot>)]
    pub slot: Option<TokenSlot>,
    /// ARN of the KMS key that wraps them.
    #[diesel(sql_type = Nullable<Text>)]
    pub kms_key: Option<String>,
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub key_count: i64,
    /// When the first of them was made.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub oldest: Option<OffsetDateTime>,
    /// And the last.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub newest: Option<OffsetDateTime>,
    /// What of them KMS has not wrapped anew for longest.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub longest_wrapped: Option<OffsetDateTime>,
    /// Rows that name them: events, or dead letters.
    #[diesel(sql_type = BigInt)]
    pub row_count: i64,
    /// Of the keys, those that no row names.
    #[diesel(sql_type = BigInt)]
    pub unused: i64,
    /// Of data keys: rows that were set aside, and do not hold them back.
    #[diesel(sql_type = BigInt)]
    pub set_aside: i64,
}

/// A key, with what is under it.
#[derive(Clone, Debug, QueryableByName)]
pub struct ListedKey {
    /// What it is for.
    #[diesel(sql_type = sql::KeyPurpose)]
    pub purpose: Purpose,
    /// Its id, which `--key` takes.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// `None`: rows name it, and it is not there.
    #[diesel(sql_type = Nullable<sql::KeyState>)]
    pub state: Option<KeyState>,
    /// Of a token key.
    #[diesel(sql_type = Nullable<sql::TokenSlot>)]
    pub slot: Option<TokenSlot>,
    /// ARN of the KMS key that wraps it.
    #[diesel(sql_type = Nullable<Text>)]
    pub kms_key: Option<String>,
    /// When it was made.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub created_at: Option<OffsetDateTime>,
    /// When KMS last wrapped it.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub wrapped_at: Option<OffsetDateTime>,
    /// Rows that name it: events, or dead letters.
    #[diesel(sql_type = BigInt)]
    pub row_count: i64,
    /// Of a data key: rows that were set aside.
    #[diesel(sql_type = BigInt)]
    pub set_aside: i64,
}

/// Data keys, and the rows under them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct Extent {
    /// How many keys.
    #[diesel(sql_type = BigInt)]
    pub key_count: i64,
    /// Those of them that have rows.
    #[diesel(sql_type = BigInt)]
    pub with_rows: i64,
    /// How many rows.
    #[diesel(sql_type = BigInt)]
    pub row_count: i64,
}

/// All keys. With rows it reads all events and dead letters, which takes as long as they are many; without, all counts
/// of rows are 0.
///
/// # Errors
/// [`DbError`].
pub async fn keys(conn: &mut Connection, with_rows: bool) -> Result<Vec<KeyGroup>, DbError> {
    sql_query("SELECT * FROM pii_vault.rotation_keys($1)")
        .bind::<Bool, _>(with_rows)
        .load(conn)
        .await
        .map_err(DbError::during("counting keys"))
}

/// Up to `most` keys, 100,001 at most, of this purpose or of all: purpose by purpose, the newest first. Rows as in
/// [`keys`].
///
/// # Errors
/// [`DbError`].
pub async fn list(
    conn: &mut Connection,
    with_rows: bool,
    purpose: Option<Purpose>,
    most: i32,
) -> Result<Vec<ListedKey>, DbError> {
    sql_query("SELECT * FROM pii_vault.list_rotation_keys($1, $2, $3)")
        .bind::<Bool, _>(with_rows)
        .bind::<Nullable<sql::KeyPurpose>, _>(purpose)
        .bind::<Integer, _>(most)
        .load(conn)
        .await
        .map_err(DbError::during("listing keys"))
}

/// The data keys that are older than this or named here, and the rows under them.
///
/// # Errors
/// [`DbError`]; its refusal is [`crate::domain::AccessRefusal::Malformed`] where one of them is no data key, or is
/// retired.
pub async fn extent(conn: &mut Connection, max_age: Option<Duration>, named: &[Uuid]) -> Result<Extent, DbError> {
    sql_query("SELECT * FROM pii_vault.plan_data_keys($1, $2)")
        .bind::<Nullable<Interval>, _>(max_age.map(interval))
        .bind::<Array<SqlUuid>, _>(named)
        .get_result(conn)
        .await
        .map_err(DbError::during("counting what is under data keys"))
}

/// Writes up to `most` events as they are, and undoes it: how many, and how long it took. Leaves as many dead tuples.
///
/// # Errors
/// [`DbError`].
pub async fn sample(conn: &mut Connection, most: i32) -> Result<(u64, Duration), DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        sampled: i64,
        #[diesel(sql_type = Double)]
        seconds: f64,
    }
    let row: Row = sql_query("SELECT * FROM pii_vault.sample_rotation($1)")
        .bind::<Integer, _>(most)
        .get_result(conn)
        .await
        .map_err(DbError::during("measuring a sample of rows"))?;
    Ok((row.sampled.unsigned_abs(), Duration::try_from_secs_f64(row.seconds).unwrap_or_default()))
}
