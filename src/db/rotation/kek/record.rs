use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Interval, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::committed::committed;
use crate::db::dead_letters::interval;
use crate::db::enums::sql;
use crate::db::error::word;
use crate::db::{Connection, DbError};
use crate::domain::Purpose;

/// Which keys of a purpose are wrapped anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that another KMS key wraps.
    OfOthers,
    /// All.
    All,
    /// Whatever wraps them, these, and those that were wrapped longer ago than that.
    Chosen {
        /// By their ids.
        keys: Vec<Uuid>,
        /// `None`: these alone.
        max_age: Option<Duration>,
    },
}

/// What became of asking for a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is recorded, or somebody else had recorded it, and it is not finished.
    Job(Uuid),
    /// Nothing is left to do.
    Nothing,
    /// One of the keys that are named is unknown, or retired.
    NoSuchKey,
    /// It is not recorded.
    Refused(Refusal),
}

/// Why a rotation is not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// One to another KMS key, or not to the newest material, is not finished.
    Unfinished,
    /// The KMS key is retired for this purpose.
    Retired,
    /// The KMS key wraps keys of another purpose, and none of this one.
    OtherPurpose,
}

impl Which {
    fn columns(&self) -> (bool, &[Uuid], Option<Duration>) {
        match self {
            Self::OfOthers => (false, &[], None),
            Self::All => (true, &[], None),
            Self::Chosen { keys, max_age } => (false, keys, *max_age),
        }
    }
}

/// Records that keys of `purpose` are to be wrapped by the KMS key `target` (ARN). Committed when it returns.
///
/// # Errors
/// [`DbError`].
pub async fn record(
    conn: &mut Connection,
    purpose: Purpose,
    target: &str,
    which: &Which,
    reason: &str,
) -> Result<Recorded, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<SqlUuid>)]
        job: Option<Uuid>,
    }
    let (newest, keys, max_age) = which.columns();
    let recorded = sql_query("SELECT pii_vault.record_rewrap($1, $2, $3, $4, $5, $6) AS job")
        .bind::<sql::KeyPurpose, _>(purpose)
        .bind::<Text, _>(target)
        .bind::<Bool, _>(newest)
        .bind::<Text, _>(reason)
        .bind::<Array<SqlUuid>, _>(keys)
        .bind::<Nullable<Interval>, _>(max_age.map(interval))
        .load(conn)
        .await
        .and_then(committed);
    match recorded {
        Ok(Row { job: Some(job) }) => Ok(Recorded::Job(job)),
        Ok(Row { job: None }) => Ok(Recorded::Nothing),
        Err(error) => match word(&error) {
            Some("rotation_unfinished") => Ok(Recorded::Refused(Refusal::Unfinished)),
            Some("kms_key_retired") => Ok(Recorded::Refused(Refusal::Retired)),
            Some("kms_key_of_another_purpose") => Ok(Recorded::Refused(Refusal::OtherPurpose)),
            Some("malformed") => Ok(Recorded::NoSuchKey),
            _ => Err(DbError::during("recording a rotation")(error)),
        },
    }
}

/// How many keys [`record`] would have wrapped anew.
///
/// # Errors
/// [`DbError`]; its refusal is [`crate::domain::AccessRefusal::Malformed`] where one that is named is no such key, or
/// retired.
pub async fn plan(conn: &mut Connection, purpose: Purpose, target: &str, which: &Which) -> Result<i64, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        keys: i64,
    }
    let (newest, keys, max_age) = which.columns();
    let row: Row = sql_query("SELECT pii_vault.plan_rewrap($1, $2, $3, $4, $5) AS keys")
        .bind::<sql::KeyPurpose, _>(purpose)
        .bind::<Text, _>(target)
        .bind::<Bool, _>(newest)
        .bind::<Array<SqlUuid>, _>(keys)
        .bind::<Nullable<Interval>, _>(max_age.map(interval))
        .get_result(conn)
        .await
        .map_err(DbError::during("counting keys to wrap anew"))?;
    Ok(row.keys)
}
