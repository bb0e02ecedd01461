//! Rows that are sealed anew: out by [`fetch`], back by [`store`], under a job that [`record`] recorded.

mod retire;

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Binary, Date as SqlDate, Interval, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use time::Date;
use uuid::Uuid;

pub use retire::{KeyRows, count, retire, set_aside};

use crate::crypto::Sealed;
use crate::db::committed::committed;
use crate::db::dead_letters::interval;
use crate::db::enums::sql;
use crate::db::hold::Hold;
use crate::db::rotation::sealed_event::EventRow;
use crate::db::rotation::{Range, SealedEvent};
use crate::db::{Connection, DbError};
use crate::domain::{EventId, KeyId};

/// An event that was sealed anew.
#[derive(Debug)]
pub struct Resealed {
    /// UTC day of the event.
    pub create_date: Date,
    /// The event.
    pub event: EventId,
    /// The data key that it named. Where it names another one by now, it is let be.
    pub old_key: KeyId,
    /// The ip under the new key.
    pub ip: Sealed,
    /// The device id under the new key.
    pub device_id: Sealed,
}

/// Records a rotation of the data keys `keys` and of those that are older than `max_age`, which from here on seal
/// nothing. `None`: they are out of use, and no row names them.
///
/// # Errors
/// [`DbError`]; its refusal is `Malformed` where one of `keys` is unknown or retired, or none is chosen. Where a
/// rotation of data keys is under way, its fault is [`Constraint`](crate::db::Fault::Constraint).
pub async fn record(
    conn: &mut Connection,
    keys: &[Uuid],
    max_age: Option<Duration>,
    reason: &str,
) -> Result<Option<Uuid>, DbError> {
    #[derive(QueryableByName)]
    struct Job {
        #[diesel(sql_type = Nullable<SqlUuid>)]
        id: Option<Uuid>,
    }
    let job: Job = sql_query("SELECT pii_vault.record_reseal($1, $2, $3) AS id")
        .bind::<Array<SqlUuid>, _>(keys)
        .bind::<Nullable<Interval>, _>(max_age.map(interval))
        .bind::<Text, _>(reason)
        .load(conn)
        .await
        .and_then(committed)
        .map_err(DbError::during("recording a rotation of data keys"))?;
    Ok(job.id)
}

/// The rows of `range` that are still under a key to be left, in the order of the primary key. Those that the job
/// passes over are not among them.
///
/// # Errors
/// [`DbError`].
pub async fn fetch(conn: &mut Connection, job: Uuid, range: Range) -> Result<Vec<SealedEvent>, DbError> {
    let rows: Vec<EventRow> = sql_query("SELECT * FROM pii_vault.fetch_reseal($1, $2, $3, $4, $5)")
        .bind::<SqlUuid, _>(job)
        .bind::<Nullable<SqlDate>, _>(range.after.map(|(day, _)| day))
        .bind::<Nullable<SqlUuid>, _>(range.after.map(|(_, id)| id))
        .bind::<SqlDate, _>(range.through.0)
        .bind::<SqlUuid, _>(range.through.1)
        .load(conn)
        .await
        .map_err(DbError::during("fetching rows to seal anew"))?;
    Ok(rows.into_iter().map(SealedEvent::from).collect())
}

/// Puts rows under `key`, those that still name the key that they were fetched with, and says how many. Nothing is
/// stored unless the key is held. [`settle`](crate::db::rotation::settle) goes into the same transaction.
///
/// # Errors
/// [`DbError`].
pub async fn store(conn: &mut Connection, job: Uuid, key: KeyId, rows: &[Resealed]) -> Result<(Hold, u64), DbError> {
    #[derive(QueryableByName)]
    struct Stored {
        #[diesel(sql_type = sql::KeyHold)]
        hold: Hold,
        #[diesel(sql_type = BigInt)]
        stored: i64,
    }
    let stored: Stored = sql_query("SELECT * FROM pii_vault.store_reseal($1, $2, $3, $4, $5, $6, $7)")
        .bind::<SqlUuid, _>(job)
        .bind::<SqlUuid, _>(key.0)
        .bind::<Array<SqlDate>, _>(rows.iter().map(|row| row.create_date).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(rows.iter().map(|row| row.event.0).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(rows.iter().map(|row| row.old_key.0).collect::<Vec<_>>())
        .bind::<Array<Binary>, _>(rows.iter().map(|row| row.ip.as_bytes()).collect::<Vec<_>>())
        .bind::<Array<Binary>, _>(rows.iter().map(|row| row.device_id.as_bytes()).collect::<Vec<_>>())
        .get_result(conn)
        .await
        .map_err(DbError::during("storing rows that were sealed anew"))?;
    Ok((stored.hold, stored.stored.unsigned_abs()))
}
