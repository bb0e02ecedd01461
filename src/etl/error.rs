use std::time::Duration;

use crate::aws::AwsError;
use crate::crypto::RandomnessError;
use crate::db::DbError;
use crate::keyring::KeyringError;

/// How long a run may take to finish what is in flight once it was told to stop.
pub(super) const GRACE: Duration = Duration::from_secs(25);

/// Ingestion gave up. What it had not committed is still in the queue.
#[derive(Debug, thiserror::Error)]
pub enum EtlError {
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyringError),
    /// The queue.
    #[error(transparent)]
    Queue(#[from] AwsError),
    /// PostgreSQL.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The operating system.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// The grace was too short.
    #[error("not everything in flight was stored within {} s; what was not is still in the queue", GRACE.as_secs())]
    GraceOver,
    /// A task of ours panicked.
    #[error("a task ended unexpectedly; what was not stored is still in the queue")]
    Task,
}
