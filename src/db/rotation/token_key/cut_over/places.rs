use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Date as SqlDate, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncConnection as _, RunQueryDsl, SimpleAsyncConnection as _};
use uuid::Uuid;

use super::SlotChange;
use crate::db::committed::committed;
use crate::db::enums::sql;
use crate::db::rotation::Range;
use crate::db::{Connection, DbError};
use crate::domain::TokenSlot;

/// Makes the view show `slot`, that of the new key, and the new key the active one: both or neither. `details` is a
/// JSON object for the log.
///
/// # Errors
/// [`DbError`].
pub async fn cut_over(
    conn: &mut Connection,
    job: Uuid,
    slot: TokenSlot,
    reason: Option<&str>,
    details: &str,
) -> Result<SlotChange, DbError> {
    let done = conn
        .transaction(async |conn| {
            show(conn, slot).await?;
            let row: ChangeRow = sql_query("SELECT pii_vault.cut_over($1, $2, $3::text::jsonb) AS change")
                .bind::<SqlUuid, _>(job)
                .bind::<Nullable<Text>, _>(reason)
                .bind::<Text, _>(details)
                .get_result(conn)
                .await?;
            row.or_undo()
        })
        .await;
    changed(done)
}

/// Makes the view show `slot`, that of the old key, and the old key the active one again. From here on the job empties
/// the other slot.
///
/// # Errors
/// [`DbError`].
pub async fn roll_back(conn: &mut Connection, job: Uuid, slot: TokenSlot, reason: &str) -> Result<SlotChange, DbError> {
    let done = conn
        .transaction(async |conn| {
            show(conn, slot).await?;
            let row: ChangeRow = sql_query("SELECT pii_vault.roll_back($1, $2) AS change")
                .bind::<SqlUuid, _>(job)
                .bind::<Text, _>(reason)
                .get_result(conn)
                .await?;
            row.or_undo()
        })
        .await;
    changed(done)
}

/// The old key makes no tokens any more. From here on the job empties its slot.
///
/// # Errors
/// [`DbError`].
pub async fn finish(conn: &mut Connection, job: Uuid, reason: Option<&str>) -> Result<SlotChange, DbError> {
    let row: ChangeRow = sql_query("SELECT pii_vault.finish_rotation($1, $2) AS change")
        .bind::<SqlUuid, _>(job)
        .bind::<Nullable<Text>, _>(reason)
        .load(conn)
        .await
        .and_then(committed)
        .map_err(DbError::during("taking the old token key out of use"))?;
    Ok(row.change)
}

/// Takes away the rule and the indexes that the slot had which is to be emptied.
///
/// # Errors
/// [`DbError`].
pub async fn release_slot(conn: &mut Connection, job: Uuid) -> Result<SlotChange, DbError> {
    let row: ChangeRow = sql_query("SELECT pii_vault.release_slot($1) AS change")
        .bind::<SqlUuid, _>(job)
        .load(conn)
        .await
        .and_then(committed)
        .map_err(DbError::during("dropping the indexes of a token slot"))?;
    Ok(row.change)
}

/// Empties the slot that is out of use in the rows of a page, and settles it.
///
/// # Errors
/// [`DbError`].
pub async fn empty(conn: &mut Connection, job: Uuid, runner: Uuid, range: Range) -> Result<u64, DbError> {
    let row: EmptiedRow = sql_query("SELECT pii_vault.empty_slot($1, $2, $3, $4, $5, $6) AS emptied")
        .bind::<SqlUuid, _>(job)
        .bind::<SqlUuid, _>(runner)
        .bind::<Nullable<SqlDate>, _>(range.after.map(|after| after.0))
        .bind::<Nullable<SqlUuid>, _>(range.after.map(|after| after.1))
        .bind::<SqlDate, _>(range.through.0)
        .bind::<SqlUuid, _>(range.through.1)
        .load(conn)
        .await
        .and_then(committed)
        .map_err(DbError::during("emptying a token slot"))?;
    Ok(row.emptied.unsigned_abs())
}

/// First in the transaction: to wait for readers of the view makes other readers wait, and nobody else.
async fn show(conn: &mut Connection, slot: TokenSlot) -> Result<(), Undone> {
    // The owner has no CREATE on schema public; who logged in has.
    conn.batch_execute("SET LOCAL ROLE NONE").await?;
    let row: ShownRow =
        sql_query("SELECT pii_vault.show_slot($1) AS shown").bind::<sql::TokenSlot, _>(slot).get_result(conn).await?;
    conn.batch_execute("SET LOCAL ROLE pii_vault_owner").await?;
    if row.shown { Ok(()) } else { Err(Undone::Change(SlotChange::LockedOut)) }
}

fn changed(done: Result<(), Undone>) -> Result<SlotChange, DbError> {
    match done {
        Ok(()) => Ok(SlotChange::Done),
        Err(Undone::Change(change)) => Ok(change),
        Err(Undone::Fault(error)) => Err(DbError::during("changing the places of the token keys")(error)),
    }
}

impl ChangeRow {
    /// What is not done is undone, the view included.
    fn or_undo(self) -> Result<(), Undone> {
        match self.change {
            SlotChange::Done => Ok(()),
            other => Err(Undone::Change(other)),
        }
    }
}

/// Why a transaction is rolled back.
enum Undone {
    Change(SlotChange),
    Fault(diesel::result::Error),
}

impl From<diesel::result::Error> for Undone {
    fn from(error: diesel::result::Error) -> Self {
        Self::Fault(error)
    }
}

#[derive(QueryableByName)]
struct ChangeRow {
    #[diesel(sql_type = sql::SlotChange)]
    change: SlotChange,
}

#[derive(QueryableByName)]
struct ShownRow {
    #[diesel(sql_type = Bool)]
    shown: bool,
}

#[derive(QueryableByName)]
struct EmptiedRow {
    #[diesel(sql_type = BigInt)]
    emptied: i64,
}
