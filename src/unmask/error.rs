use std::io;

use crate::crypto::checkpoint::NotCovered;
use crate::db::{DbError, Fault};
use crate::keyring::KeyringError;

/// Unmasking failed.
#[derive(Debug, thiserror::Error)]
pub enum UnmaskError {
    /// PostgreSQL.
    #[error(transparent)]
    Db(#[from] DbError),
    /// KMS.
    #[error(transparent)]
    Key(#[from] KeyringError),
    /// The checkpoint that is to cover the receipt does not verify.
    #[error(transparent)]
    Checkpoint(#[from] NotCovered),
    /// A page whose outcome is recorded could not be written, or not to its end.
    #[error("writing")]
    Write(#[source] io::Error),
}

/// Whether to wait. A refusal by PostgreSQL is the end: somebody is there to read it.
pub(super) fn may_pass(error: &DbError) -> bool {
    error.is_transient() && error.fault() != Fault::Refused
}
