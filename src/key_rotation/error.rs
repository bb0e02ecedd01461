use crate::aws::AwsError;
use crate::crypto::RandomnessError;
use crate::db::{DbError, Fault};
use crate::domain::AccessRefusal;
use crate::keyring::KeyringError;

/// A rotation stopped. What was settled is done; run it again to go on.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// PostgreSQL.
    #[error(transparent)]
    Db(#[from] DbError),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyringError),
    /// KMS.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The operating system.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// Keys went out of use while a page was worked on.
    #[error("keys changed meanwhile; the page is worked on anew")]
    KeysChanged,
    /// A task of ours panicked.
    #[error("a task ended unexpectedly")]
    Task,
}

impl RotationError {
    /// Whether to wait and try again, for a checkpoint too. A refusal by PostgreSQL is the end: somebody is there to read
    /// it.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Db(error) | Self::Key(KeyringError::Db(error)) => {
                matches!(error.refusal(), Some(AccessRefusal::NoCheckpoint | AccessRefusal::NotDurable))
                    || error.is_transient() && error.fault() != Fault::Refused
            }
            Self::Key(error) => error.is_transient(),
            Self::Aws(error) => error.is_transient(),
            Self::KeysChanged => true,
            Self::Randomness(_) | Self::Task => false,
        }
    }
}
