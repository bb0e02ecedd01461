use std::time::Duration;

use crate::aws::AwsError;
use crate::crypto::RandomnessError;
use crate::crypto::checkpoint::NotCovered;
use crate::db::DbError;
use crate::domain::AccessRefusal;
use crate::keyring::KeyringError;

/// How long a run may take to finish what is in flight once it was told to stop.
pub(super) const GRACE: Duration = Duration::from_secs(25);

/// Ingestion gave up. What it had not committed is still where it came from.
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
    /// The checkpoint that is to cover the record of a redrive job does not verify.
    #[error(transparent)]
    Checkpoint(#[from] NotCovered),
    /// Policy asks for a checkpoint that covers the record of a redrive job.
    #[error("no signed checkpoint covers the record yet (no_checkpoint)")]
    NoCheckpoint,
    /// The operating system.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// The grace was too short.
    #[error("not everything in flight was stored and deleted within {} s", GRACE.as_secs())]
    GraceOver,
    /// A file could not be read to its end.
    #[error("reading line {line}")]
    Input {
        /// The line.
        line: u64,
        /// Why.
        source: std::io::Error,
    },
    /// A file was not read to its end.
    #[error("stopped before the end of the file")]
    Stopped,
    /// Keys went out of use while lines of a file were in flight.
    #[error("keys changed meanwhile, and lines that were in flight are not stored; read them again")]
    GivenUp,
    /// A task of ours panicked.
    #[error("a task ended unexpectedly")]
    Task,
}

impl EtlError {
    /// Why nothing is handed out; `None` of another fault.
    #[must_use]
    pub fn refusal(&self) -> Option<AccessRefusal> {
        match self {
            Self::NoCheckpoint => Some(AccessRefusal::NoCheckpoint),
            Self::Db(error) => error.refusal(),
            _ => None,
        }
    }
}
