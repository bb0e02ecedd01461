use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Date as SqlDate, Integer, Nullable, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use time::Date;
use uuid::Uuid;

use super::SlotChange;
use crate::db::committed::committed;
use crate::db::enums::sql;
use crate::db::rotation::Position;
use crate::db::{Connection, DbError};
use crate::domain::{RotationFailure, TokenSlot};

/// Rows that lack the tokens of the new key.
#[derive(Clone, Debug, Default)]
pub struct Unfilled {
    /// How many.
    pub rows: u64,
    /// How many of them the job set aside, as they do not open.
    pub set_aside: u64,
    /// The first of them, and why they were set aside.
    pub first: Vec<(Position, Option<RotationFailure>)>,
}

/// Whether the login itself may replace the view: it needs CREATE on schema public, and rights of the owner.
///
/// # Errors
/// [`DbError`].
pub async fn may_replace_view(conn: &mut Connection) -> Result<bool, DbError> {
    let sql = "SELECT has_schema_privilege(session_user, 'public', 'CREATE') \
               AND pg_has_role(session_user, 'pii_vault_owner', 'USAGE') AS yes";
    let row: YesRow =
        sql_query(sql).get_result(conn).await.map_err(DbError::during("reading the rights of the login"))?;
    Ok(row.yes)
}

/// Rows that lack the tokens of the job's new key, the first `most` of them by name.
///
/// # Errors
/// [`DbError`].
pub async fn unfilled(conn: &mut Connection, job: Uuid, most: i32) -> Result<Unfilled, DbError> {
    let row: UnfilledRow = sql_query(
        "SELECT row_count, set_aside, coalesce(days, '{}') AS days, coalesce(ids, '{}') AS ids, \
         coalesce(why, '{}') AS why FROM pii_vault.unfilled_rows($1, $2)",
    )
    .bind::<SqlUuid, _>(job)
    .bind::<Integer, _>(most)
    .get_result(conn)
    .await
    .map_err(DbError::during("looking for rows without new tokens"))?;
    Ok(Unfilled {
        rows: row.row_count.unsigned_abs(),
        set_aside: row.set_aside.unsigned_abs(),
        first: row.days.into_iter().zip(row.ids).zip(row.why).collect(),
    })
}

/// Fills the new slot of rows that do not open, and says of how many: with the new tokens of rows that had the same old
/// ones, or with tokens that no value has.
///
/// # Errors
/// [`DbError`].
pub async fn fill_unopened(conn: &mut Connection, job: Uuid) -> Result<u64, DbError> {
    let row: FilledRow = sql_query("SELECT pii_vault.fill_unopened($1) AS filled")
        .bind::<SqlUuid, _>(job)
        .load(conn)
        .await
        .and_then(committed)
        .map_err(DbError::during("filling the new slot of rows that do not open"))?;
    Ok(row.filled.unsigned_abs())
}

/// Rows lack tokens that were thought filled: the job goes back to filling.
///
/// # Errors
/// [`DbError`].
pub async fn fill_again(conn: &mut Connection, job: Uuid) -> Result<(), DbError> {
    sql_query("SELECT pii_vault.fill_again($1)")
        .bind::<SqlUuid, _>(job)
        .execute(conn)
        .await
        .map_err(DbError::during("sending a rotation back to filling"))?;
    Ok(())
}

/// From here on no new row can lack the slot.
///
/// # Errors
/// [`DbError`].
pub async fn keep_filled(conn: &mut Connection, slot: TokenSlot) -> Result<SlotChange, DbError> {
    let row: ChangeRow = sql_query("SELECT pii_vault.keep_filled($1) AS change")
        .bind::<sql::TokenSlot, _>(slot)
        .load(conn)
        .await
        .and_then(committed)
        .map_err(DbError::during("keeping a token slot filled"))?;
    Ok(row.change)
}

/// From here on new rows may lack the slot again.
///
/// # Errors
/// [`DbError`].
pub async fn let_unfilled(conn: &mut Connection, slot: TokenSlot) -> Result<SlotChange, DbError> {
    let row: ChangeRow = sql_query("SELECT pii_vault.let_unfilled($1) AS change")
        .bind::<sql::TokenSlot, _>(slot)
        .load(conn)
        .await
        .and_then(committed)
        .map_err(DbError::during("letting rows lack a token slot"))?;
    Ok(row.change)
}

/// Looks at the rows of one more partition; how many of how many are looked at.
///
/// # Errors
/// [`DbError`].
pub async fn verify_filled(conn: &mut Connection, slot: TokenSlot) -> Result<(SlotChange, u64, u64), DbError> {
    let row: VerifiedRow = sql_query("SELECT outcome, verified, total FROM pii_vault.verify_filled($1)")
        .bind::<sql::TokenSlot, _>(slot)
        .load(conn)
        .await
        .and_then(committed)
        .map_err(DbError::during("verifying that a token slot is filled"))?;
    Ok((row.outcome, row.verified.unsigned_abs(), row.total.unsigned_abs()))
}

#[derive(QueryableByName)]
struct YesRow {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

#[derive(QueryableByName)]
struct UnfilledRow {
    #[diesel(sql_type = BigInt)]
    row_count: i64,
    #[diesel(sql_type = BigInt)]
    set_aside: i64,
    #[diesel(sql_type = Array<SqlDate>)]
    days: Vec<Date>,
    #[diesel(sql_type = Array<SqlUuid>)]
    ids: Vec<Uuid>,
    #[diesel(sql_type = Array<Nullable<sql::RotationFailure>>)]
    why: Vec<Option<RotationFailure>>,
}

#[derive(QueryableByName)]
struct FilledRow {
    #[diesel(sql_type = BigInt)]
    filled: i64,
}

#[derive(QueryableByName)]
struct ChangeRow {
    #[diesel(sql_type = sql::SlotChange)]
    change: SlotChange,
}

#[derive(QueryableByName)]
struct VerifiedRow {
    #[diesel(sql_type = sql::SlotChange)]
    outcome: SlotChange,
    #[diesel(sql_type = BigInt)]
    verified: i64,
    #[diesel(sql_type = BigInt)]
    total: i64,
}
