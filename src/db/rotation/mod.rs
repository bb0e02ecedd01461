//! `pii_vault.rotation_jobs`: rotations of keys, which are recorded before they touch a row.
//!
//! Record (a function for each kind) → [`arm`] → [`claim`] and [`settle`], again and again, each in a transaction of
//! its own; the database refuses any other order, whoever asks. A claim moves the job's cursor, so that runners share
//! the work; what a runner had in hand when it died is found by the next pass.

pub mod data_key;
pub mod handouts;
mod job;
pub mod kek;
mod keys;
pub mod samples;
mod sealed_event;
pub mod token_key;
mod told;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Date as SqlDate, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use time::Date;
use uuid::Uuid;

pub use job::{Job, all, unfinished};
pub use keys::{Extent, KeyGroup, ListedKey, extent, keys, list, sample};
pub use sealed_event::SealedEvent;
pub use told::{PassedOver, Told, history, passed_over};

use super::committed::committed;
use super::enums::sql;
use super::{Connection, DbError};
use crate::domain::{KeyId, RotationFailure, RotationStep};

/// A place in the order of work: `create_date` and event id, or the day on which a key was made and its id.
pub type Position = (Date, Uuid);

/// What a runner is to do next.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// How far the job is.
    pub step: RotationStep,
    /// Whether somebody paused it.
    pub paused: bool,
    /// The rows or keys in hand; `None`: a pass has ended, or see `step` and `paused`.
    pub range: Option<Range>,
    /// Of the whole job.
    pub counts: Counts,
}

/// Rows or keys beyond `after`, up to and with `through`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The last one that is not in it; `None`: from the first one on.
    pub after: Option<Position>,
    /// The last one.
    pub through: Position,
    /// How many of them are left to do; there may be none.
    pub rows: u64,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows or keys when it was recorded.
    pub total: u64,
    /// Changed since.
    pub changed: u64,
    /// Passed over.
    pub failed: u64,
}

/// A row or key that is passed over.
#[derive(Clone, Copy, Debug)]
pub struct Failed {
    /// Which.
    pub position: Position,
    /// The data key of the row, or the key.
    pub key: KeyId,
    /// Why.
    pub why: RotationFailure,
}

/// Makes a runner known, and lets a job go on that is paused.
///
/// # Errors
/// [`DbError`].
pub async fn arm(conn: &mut Connection, job: Uuid, runner: Uuid) -> Result<(), DbError> {
    sql_query("SELECT pii_vault.arm_rotation($1, $2)")
        .bind::<SqlUuid, _>(job)
        .bind::<SqlUuid, _>(runner)
        .execute(conn)
        .await
        .map_err(DbError::during("arming a rotation"))?;
    Ok(())
}

/// The next rows or keys, `batch` at most; committed when it returns, so nobody else gets them in this pass.
///
/// # Errors
/// [`DbError`]; its refusal where the record is not on disk yet, or no checkpoint covers it and policy asks for one.
pub async fn claim(conn: &mut Connection, job: Uuid, runner: Uuid, batch: i32) -> Result<Claim, DbError> {
    let row: ClaimRow = sql_query("SELECT * FROM pii_vault.claim_rotation($1, $2, $3)")
        .bind::<SqlUuid, _>(job)
        .bind::<SqlUuid, _>(runner)
        .bind::<Integer, _>(batch)
        .load(conn)
        .await
        .and_then(committed)
        .map_err(DbError::during("claiming a page of a rotation"))?;
    Ok(row.into())
}

/// Says what became of a page. Call it last in the transaction that changed its rows or keys.
///
/// # Errors
/// [`DbError`].
pub async fn settle(
    conn: &mut Connection,
    job: Uuid,
    runner: Uuid,
    changed: u64,
    failed: &[Failed],
) -> Result<(), DbError> {
    sql_query("SELECT pii_vault.settle_rotation($1, $2, $3, $4, $5, $6, $7)")
        .bind::<SqlUuid, _>(job)
        .bind::<SqlUuid, _>(runner)
        .bind::<BigInt, _>(i64::try_from(changed).unwrap_or(i64::MAX))
        .bind::<Array<SqlDate>, _>(failed.iter().map(|row| row.position.0).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(failed.iter().map(|row| row.position.1).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(failed.iter().map(|row| row.key.0).collect::<Vec<_>>())
        .bind::<Array<sql::RotationFailure>, _>(failed.iter().map(|row| row.why).collect::<Vec<_>>())
        .execute(conn)
        .await
        .map_err(DbError::during("settling a page of a rotation"))?;
    Ok(())
}

/// Says that a runner is still there, whether it works or waits.
///
/// # Errors
/// [`DbError`].
pub async fn see(conn: &mut Connection, job: Uuid, runner: Uuid) -> Result<(), DbError> {
    sql_query("SELECT pii_vault.see_runner($1, $2)")
        .bind::<SqlUuid, _>(job)
        .bind::<SqlUuid, _>(runner)
        .execute(conn)
        .await
        .map_err(DbError::during("telling that a runner is there"))?;
    Ok(())
}

/// How far a job is now.
///
/// # Errors
/// [`DbError`].
pub async fn counts(conn: &mut Connection, job: Uuid) -> Result<Counts, DbError> {
    let row: CountsRow = sql_query("SELECT total, changed, failed FROM pii_vault.rotation_jobs WHERE id = $1")
        .bind::<SqlUuid, _>(job)
        .get_result(conn)
        .await
        .map_err(DbError::during("reading how far a rotation is"))?;
    Ok(row.into())
}

/// Makes all runners of a job stop before their next page.
///
/// # Errors
/// [`DbError`].
pub async fn pause(conn: &mut Connection, job: Uuid, reason: &str) -> Result<(), DbError> {
    sql_query("SELECT pii_vault.pause_rotation($1, $2)")
        .bind::<SqlUuid, _>(job)
        .bind::<Text, _>(reason)
        .execute(conn)
        .await
        .map_err(DbError::during("pausing a rotation"))?;
    Ok(())
}

/// Gives a rotation up, not one of the token key; what was done stays done. `false`: it had ended before.
///
/// # Errors
/// [`DbError`].
pub async fn abandon(conn: &mut Connection, job: Uuid, reason: &str) -> Result<bool, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        abandoned: bool,
    }
    let row: Row = sql_query("SELECT pii_vault.abandon_rotation($1, $2) AS abandoned")
        .bind::<SqlUuid, _>(job)
        .bind::<Text, _>(reason)
        .load(conn)
        .await
        .and_then(committed)
        .map_err(DbError::during("abandoning a rotation"))?;
    Ok(row.abandoned)
}

/// A runner goes; the job is paused where it was the last one.
///
/// # Errors
/// [`DbError`].
pub async fn leave(conn: &mut Connection, job: Uuid, runner: Uuid) -> Result<(), DbError> {
    sql_query("SELECT pii_vault.leave_rotation($1, $2)")
        .bind::<SqlUuid, _>(job)
        .bind::<SqlUuid, _>(runner)
        .execute(conn)
        .await
        .map_err(DbError::during("leaving a rotation"))?;
    Ok(())
}

#[derive(QueryableByName)]
struct ClaimRow {
    #[diesel(sql_type = sql::RotationStep)]
    step: RotationStep,
    #[diesel(sql_type = Bool)]
    paused: bool,
    #[diesel(sql_type = Nullable<SqlDate>)]
    after_day: Option<Date>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    after_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlDate>)]
    through_day: Option<Date>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    through_id: Option<Uuid>,
    #[diesel(sql_type = BigInt)]
    page_rows: i64,
    #[diesel(embed)]
    counts: CountsRow,
}

#[derive(QueryableByName)]
struct CountsRow {
    #[diesel(sql_type = BigInt)]
    total: i64,
    #[diesel(sql_type = BigInt)]
    changed: i64,
    #[diesel(sql_type = BigInt)]
    failed: i64,
}

impl From<CountsRow> for Counts {
    fn from(row: CountsRow) -> Self {
        Self { total: row.total.unsigned_abs(), changed: row.changed.unsigned_abs(), failed: row.failed.unsigned_abs() }
    }
}

impl From<ClaimRow> for Claim {
    fn from(row: ClaimRow) -> Self {
        let range = row.through_day.zip(row.through_id).map(|through| Range {
            after: row.after_day.zip(row.after_id),
            through,
            rows: row.page_rows.unsigned_abs(),
        });
        let counts = row.counts.into();
        Self { step: row.step, paused: row.paused, range, counts }
    }
}
