//! `pii_vault.redrive_jobs` and the audit log: sealed dead letters come out through a recorded, committed job alone.
//!
//! [`record`] → [`arm`] → [`fetch`] → [`settle`], the first two and the last in a transaction each; the database
//! refuses any other order, whoever asks.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Binary, Date as SqlDate, Integer, Interval, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use time::Date;
use uuid::Uuid;

use super::committed::committed;
use super::dead_letters::interval;
use super::enums::{sql, sql_enum};
use super::sealing_keys::{KeyColumns, WrappedKey};
use super::{Connection, DbError};
use crate::domain::{EventId, KeyId, Reason, Refusal};

/// The most rows of one job; the database takes no more.
pub const JOB_ROWS: u16 = 5000;

/// How long the database hands out the rows of a job.
pub const JOB_AGE: Duration = Duration::from_secs(600);

/// Which dead letters, of those that were not redriven yet. What is empty selects all; ages count from the time at
/// which the letter was set aside.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Any of these reasons.
    pub reasons: Vec<Reason>,
    /// Any of these message ids.
    pub ids: Vec<Uuid>,
    /// At least so old.
    pub older_than: Option<Duration>,
    /// Younger than this.
    pub newer_than: Option<Duration>,
}

/// The primary key of a dead letter.
pub type Position = (Date, EventId);

/// A dead letter as it is sealed.
#[derive(Debug)]
pub struct SealedLetter {
    /// Its place in the job's list, from 1.
    pub ordinal: i32,
    /// UTC day of the message.
    pub create_date: Date,
    /// The message.
    pub message: EventId,
    /// The sealed body.
    pub body: Vec<u8>,
    /// The dead-letter key that it names.
    pub key_id: KeyId,
    /// That key, wrapped; `None` where it is not there, or retired.
    pub key: Option<WrappedKey>,
}

/// What became of a dead letter of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Opened, and its event is there.
    Stored,
    /// Opened, and still no event.
    Refused,
    /// Altered, or its key is.
    DidNotOpen,
}

/// What became of the dead letter at an ordinal.
#[derive(Clone, Copy, Debug)]
pub struct Settled {
    /// Its place in the job's list.
    pub ordinal: i32,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it is refused today, where it is.
    pub refusal: Option<Refusal>,
}

impl Outcome {
    const ALL: [Self; 3] = [Self::Stored, Self::Refused, Self::DidNotOpen];

    /// The word in SQL.
    fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Refused => "refused",
            Self::DidNotOpen => "did_not_open",
        }
    }
}

sql_enum!(Outcome = RedriveOutcome, OutcomeProxy, Outcome::name);

/// How many dead letters a selection holds now, by reason. Opens nothing.
///
/// # Errors
/// [`DbError`].
pub async fn count(conn: &mut Connection, selection: &Selection) -> Result<Vec<(Reason, u64)>, DbError> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = sql::DeadLetterReason)]
        reason: Reason,
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let counts: Vec<Count> = sql_query(
        "SELECT reason, count(*) FROM pii_vault.select_redrive($1, $2, $3, $4) GROUP BY reason ORDER BY reason",
    )
    .bind::<Array<sql::DeadLetterReason>, _>(&selection.reasons)
    .bind::<Nullable<Interval>, _>(selection.older_than.map(interval))
    .bind::<Nullable<Interval>, _>(selection.newer_than.map(interval))
    .bind::<Array<SqlUuid>, _>(&selection.ids)
    .load(conn)
    .await
    .map_err(DbError::during("counting dead letters"))?;
    Ok(counts.into_iter().map(|row| (row.reason, row.count.unsigned_abs())).collect())
}

/// Records a job for the first `most` dead letters of a selection beyond a position, in the order of their primary
/// key; committed when it returns. `None` where there is no such letter.
///
/// # Errors
/// [`DbError`].
pub async fn record(
    conn: &mut Connection,
    note: &str,
    selection: &Selection,
    after: Option<Position>,
    most: u16,
) -> Result<Option<Uuid>, DbError> {
    #[derive(QueryableByName)]
    struct Job {
        #[diesel(sql_type = Nullable<SqlUuid>)]
        id: Option<Uuid>,
    }
    let job: Job = sql_query("SELECT pii_vault.record_redrive($1, $2, $3, $4, $5, $6, $7, $8) AS id")
        .bind::<Text, _>(note)
        .bind::<Array<sql::DeadLetterReason>, _>(&selection.reasons)
        .bind::<Nullable<Interval>, _>(selection.older_than.map(interval))
        .bind::<Nullable<Interval>, _>(selection.newer_than.map(interval))
        .bind::<Array<SqlUuid>, _>(&selection.ids)
        .bind::<Nullable<SqlDate>, _>(after.map(|(day, _)| day))
        .bind::<Nullable<SqlUuid>, _>(after.map(|(_, message)| message.0))
        .bind::<Integer, _>(i32::from(most))
        .load(conn)
        .await
        .and_then(committed)
        .map_err(DbError::during("recording a redrive job"))?;
    Ok(job.id)
}

/// A job that is armed.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub struct Armed {
    /// How many rows it has.
    #[diesel(sql_type = Integer)]
    pub row_count: i32,
    /// The row of the audit log that records it.
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
}

/// Arms a recorded job.
///
/// # Errors
/// [`DbError`].
pub async fn arm(conn: &mut Connection, job: Uuid) -> Result<Armed, DbError> {
    sql_query("SELECT row_count, seq FROM pii_vault.arm_redrive($1)")
        .bind::<SqlUuid, _>(job)
        .load(conn)
        .await
        .and_then(committed)
        .map_err(DbError::during("arming a redrive job"))
}

/// The next dead letters of an armed job, in order: 500 at most, and no more once they reach 8 MiB. What was redriven
/// or deleted since the record is left out; none: the list is at its end.
///
/// # Errors
/// [`DbError`].
pub async fn fetch(conn: &mut Connection, job: Uuid, after: i32) -> Result<Vec<SealedLetter>, DbError> {
    let rows: Vec<LetterRow> = sql_query("SELECT * FROM pii_vault.fetch_redrive($1, $2)")
        .bind::<SqlUuid, _>(job)
        .bind::<Integer, _>(after)
        .load(conn)
        .await
        .map_err(DbError::during("fetching dead letters"))?;
    Ok(rows.into_iter().map(SealedLetter::from).collect())
}

/// Says what became of dead letters of a job, and marks those that are stored. Call it in the transaction that stores
/// their events.
///
/// # Errors
/// [`DbError`].
pub async fn settle(conn: &mut Connection, job: Uuid, settled: &[Settled]) -> Result<(), DbError> {
    let ordinals: Vec<_> = settled.iter().map(|row| row.ordinal).collect();
    let outcomes: Vec<_> = settled.iter().map(|row| row.outcome).collect();
    let reasons: Vec<_> = settled.iter().map(|row| row.refusal.map(|refusal| refusal.reason)).collect();
    let members: Vec<_> = settled.iter().map(|row| row.refusal.and_then(|refusal| refusal.member)).collect();
    sql_query("SELECT pii_vault.settle_redrive($1, $2, $3, $4, $5)")
        .bind::<SqlUuid, _>(job)
        .bind::<Array<Integer>, _>(ordinals)
        .bind::<Array<sql::RedriveOutcome>, _>(outcomes)
        .bind::<Array<Nullable<sql::DeadLetterReason>>, _>(reasons)
        .bind::<Array<Nullable<sql::LoginMember>>, _>(members)
        .execute(conn)
        .await
        .map_err(DbError::during("settling dead letters"))?;
    Ok(())
}

#[derive(QueryableByName)]
struct LetterRow {
    #[diesel(sql_type = Integer)]
    ordinal: i32,
    #[diesel(sql_type = SqlDate)]
    create_date: Date,
    #[diesel(sql_type = SqlUuid)]
    message_id: Uuid,
    #[diesel(sql_type = Binary)]
    body_ciphertext: Vec<u8>,
    #[diesel(sql_type = SqlUuid)]
    dead_letter_key_id: Uuid,
    #[diesel(embed)]
    key: KeyColumns,
}

impl From<LetterRow> for SealedLetter {
    fn from(row: LetterRow) -> Self {
        let key_id = KeyId(row.dead_letter_key_id);
        let key = row.key.of(key_id);
        Self {
            ordinal: row.ordinal,
            create_date: row.create_date,
            message: EventId(row.message_id),
            body: row.body_ciphertext,
            key_id,
            key,
        }
    }
}
