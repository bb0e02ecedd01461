use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use tracing::info;

use crate::db::months::{self, MonthInDefault, MonthRepair, RepairOutcome};
use crate::db::{ConnectError, Role};
use crate::db::{DbError, Server};

/// Why months are in the default partition still. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// Another session was in `login_events` all the time.
    #[error(
        "other sessions had login_events locked all the time; `pii-vault doctor` names them. Nothing was changed; \
         run it again, or with a longer --patience"
    )]
    LockedOut,
    /// Another session held a snapshot all the time.
    #[error(
        "rows of more than one month have to be moved, and other sessions of this database held snapshots that would \
         miss them: open transactions, which pg_stat_activity shows by backend_xmin. Nothing was changed; run it again, \
         or with a longer --patience"
    )]
    SnapshotHeld,
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A statement.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// The months that a repair would give partitions.
///
/// # Errors
/// [`RepairError`].
pub async fn plan(server: &Server) -> Result<Vec<MonthInDefault>, RepairError> {
    let mut conn = server.connect(Role::Owner).await?;
    Ok(months::in_default(&mut conn).await?)
}

/// Gives each month that has rows in the default partition a partition of its own; what was done for each.
///
/// Each try waits 2 s at most for the lock, and holds up readers and ingestion of `login_events` for as long; between
/// them come growing pauses, `patience` in all.
///
/// # Errors
/// [`RepairError`].
pub async fn repair(server: &Server, patience: Duration) -> Result<Vec<(MonthInDefault, MonthRepair)>, RepairError> {
    let pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(Duration::from_secs(10))
        .with_total_delay(Some(patience))
        .without_max_times()
        .with_jitter();
    let attempt = || async {
        let mut conn = server.connect(Role::Owner).await?;
        match months::repair_default(&mut conn).await? {
            RepairOutcome::Repaired(months) => Ok(months),
            RepairOutcome::Busy(MonthRepair::SnapshotHeld) => Err(RepairError::SnapshotHeld),
            RepairOutcome::Busy(_) => Err(RepairError::LockedOut),
        }
    };
    attempt
        .retry(pauses)
        .when(|error| matches!(error, RepairError::LockedOut | RepairError::SnapshotHeld))
        .notify(|_, pause| info!(pause_ms = pause.as_millis(), "other sessions are in the way; trying again"))
        .await
}
