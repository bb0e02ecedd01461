//! Partitions of `pii_vault.login_events`: made before the first row of a month, repaired where that failed.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Date as SqlDate, Nullable};
use diesel_async::RunQueryDsl;
use time::Date;

use super::committed::committed;
use super::enums::{sql, sql_enum};
use super::{Connection, DbError};
use crate::domain::Month;

/// What [`repair_default`] did for a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MonthRepair {
    /// The default partition became the month's; no row was moved.
    InPlace,
    /// Its rows were moved to a new partition.
    Moved,
    /// Its rows stay: a table that is no partition has the name of the month's.
    NameTaken,
    /// Nothing for any month: another session had `login_events` locked.
    LockedOut,
    /// Nothing for any month: another session held a snapshot that would have missed moved rows.
    SnapshotHeld,
}

/// A month with rows in the default partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MonthInDefault {
    /// The month.
    pub month: Month,
    /// How many rows.
    pub rows: i64,
}

/// How a repair ended.
#[derive(Debug)]
pub enum RepairOutcome {
    /// What was done for each month that had rows in the default partition; those of [`MonthRepair::NameTaken`] stay.
    Repaired(Vec<(MonthInDefault, MonthRepair)>),
    /// Nothing was done, for this reason. Trying again helps.
    Busy(MonthRepair),
}

impl MonthRepair {
    const ALL: [Self; 5] = [Self::InPlace, Self::Moved, Self::NameTaken, Self::LockedOut, Self::SnapshotHeld];

    /// The word in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InPlace => "in_place",
            Self::Moved => "moved",
            Self::NameTaken => "name_taken",
            Self::LockedOut => "locked_out",
            Self::SnapshotHeld => "snapshot_held",
        }
    }
}

sql_enum!(MonthRepair = MonthRepair, MonthRepairProxy, MonthRepair::name);

#[diesel::declare_sql_function]
#[expect(missing_docs, reason = "the macro writes items that cannot carry any")]
extern "SQL" {
    #[sql_name = "pii_vault.ensure_month"]
    fn ensure_month(day: SqlDate) -> Bool;
}

/// Makes the partition of the month where it is missing. `false`: an open reader or rows in the default partition held
/// it up, or the month is more than ten years ago or two months ahead, and its rows go to the default partition for
/// now. Nothing is lost by that.
///
/// # Errors
/// [`DbError`].
pub async fn ensure(conn: &mut Connection, month: Month) -> Result<bool, DbError> {
    diesel::select(ensure_month(month.first_day()))
        .load(conn)
        .await
        .and_then(committed)
        .map_err(DbError::during("making a month's partition"))
}

/// The months that have rows in the default partition.
///
/// # Errors
/// [`DbError`].
pub async fn in_default(conn: &mut Connection) -> Result<Vec<MonthInDefault>, DbError> {
    let rows: Vec<InDefault> = diesel::sql_query("SELECT month, row_count FROM pii_vault.months_in_default()")
        .load(conn)
        .await
        .map_err(DbError::during("counting rows in the default partition"))?;
    Ok(rows.into_iter().map(|row| MonthInDefault { month: Month::of(row.month), rows: row.row_count }).collect())
}

/// Gives each month that has rows in the default partition one of its own: all in one transaction, or nothing. Waits
/// 2 s at most for ACCESS EXCLUSIVE on `login_events`.
///
/// # Errors
/// [`DbError`].
pub async fn repair_default(conn: &mut Connection) -> Result<RepairOutcome, DbError> {
    let rows: Vec<Repaired> = diesel::sql_query("SELECT month, row_count, outcome FROM pii_vault.repair_default()")
        .load(conn)
        .await
        .map_err(DbError::during("repairing the default partition"))?;
    let mut repaired = Vec::new();
    for row in rows {
        match row.month {
            Some(month) => {
                repaired.push((MonthInDefault { month: Month::of(month), rows: row.row_count }, row.outcome))
            }
            None => return Ok(RepairOutcome::Busy(row.outcome)),
        }
    }
    Ok(RepairOutcome::Repaired(repaired))
}

#[derive(QueryableByName)]
struct InDefault {
    #[diesel(sql_type = SqlDate)]
    month: Date,
    #[diesel(sql_type = BigInt)]
    row_count: i64,
}

#[derive(QueryableByName)]
struct Repaired {
    #[diesel(sql_type = Nullable<SqlDate>)]
    month: Option<Date>,
    #[diesel(sql_type = BigInt)]
    row_count: i64,
    #[diesel(sql_type = sql::MonthRepair)]
    outcome: MonthRepair,
}
