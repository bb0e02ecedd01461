use std::process::ExitCode;

use super::config::UsageError;
use crate::db::migrations::MigrationError;
use crate::etl::EtlError;
use crate::init::InitError;
use crate::key_rotation::RotationError;
use crate::keyring::KeyringError;
use crate::lookup::LookupError;
use crate::notary::{NotaryError, ResumeError};
use crate::unmask::UnmaskError;

/// What the exit status of a command means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExitStatus {
    /// Everything was done.
    Done,
    /// Something failed; trying again, or what the message says, may help.
    Failed,
    /// The command line or the configuration is to blame.
    Usage,
    /// Refused on purpose.
    Refused,
    /// What is stored is not what was stored.
    IntegrityBroken,
}

impl ExitStatus {
    /// The status of an error that reached the command's edge.
    pub(super) fn of(error: &anyhow::Error) -> Self {
        if error.is::<UsageError>() {
            return Self::Usage;
        }
        if let Some(InitError::Migration(MigrationError::NotOurs { .. })) = error.downcast_ref() {
            return Self::Refused;
        }
        if let Some(NotaryError::Broken(_)) = error.downcast_ref() {
            return Self::IntegrityBroken;
        }
        if error.downcast_ref().is_some_and(ResumeError::is_broken) || is_not_covered(error) {
            return Self::IntegrityBroken;
        }
        if let Some(RotationError::NoneUnwraps(_)) = error.downcast_ref() {
            return Self::IntegrityBroken;
        }
        match key_error(error) {
            Some(KeyringError::Commitment { .. }) => Self::IntegrityBroken,
            _ => Self::Failed,
        }
    }
}

/// Whether the checkpoint of a record does not verify, whichever command it was.
fn is_not_covered(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(UnmaskError::Checkpoint(_)))
        || matches!(error.downcast_ref(), Some(LookupError::Checkpoint(_)))
        || matches!(error.downcast_ref(), Some(EtlError::Checkpoint(_)))
}

/// What went wrong with a key, whichever command it was.
fn key_error(error: &anyhow::Error) -> Option<&KeyringError> {
    if let Some(EtlError::Key(key)) = error.downcast_ref() {
        return Some(key);
    }
    if let Some(InitError::Key(key)) = error.downcast_ref() {
        return Some(key);
    }
    if let Some(RotationError::Key(key)) = error.downcast_ref() {
        return Some(key);
    }
    match error.downcast_ref() {
        Some(LookupError::Key(key)) => Some(key),
        _ => None,
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(match status {
            ExitStatus::Done => 0,
            ExitStatus::Failed => 1,
            ExitStatus::Usage => 2,
            ExitStatus::Refused => 3,
            ExitStatus::IntegrityBroken => 4,
        })
    }
}
