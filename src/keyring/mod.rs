//! From a wrapped row and KMS to a key in use: the one place where crypto, AWS and the database meet.
//!
//! Guaranteed: a token key, and a key that opens, is used only if it unwraps to what was committed to; a sealing key is
//! stored, committed, before its first use, and used for one process, its lifetime and its number of values at most.

mod openers;
mod sealing_keys;
mod token_keys;

pub use openers::{Openers, Unopenable};
pub use sealing_keys::{KeyLimits, KeyLimitsError, SealingKeys, StepKey};
pub use token_keys::{TokenKey, TokenKeys};

use crate::aws::AwsError;
use crate::crypto::CommitmentMismatch;
use crate::db::DbError;
use crate::domain::KeyId;

/// A key could not be brought into use.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// KMS.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// PostgreSQL.
    #[error(transparent)]
    Db(#[from] DbError),
    /// What KMS unwrapped is not the key that was stored: the row was altered.
    #[error("token key {key}: {source}. The row was altered; restore it from a backup")]
    Commitment {
        /// The key.
        key: KeyId,
        /// The mismatch.
        source: CommitmentMismatch,
    },
    /// The KMS key that wraps a token key is out of use. Until somebody takes that back no token can be computed.
    #[error(
        "the KMS key {kms_key}, which wraps token key {key}, is disabled or about to be deleted; enable it, or cancel its \
         deletion"
    )]
    KmsKeyOff {
        /// The token key.
        key: KeyId,
        /// ARN of the KMS key.
        kms_key: String,
    },
    /// The vault has no token key.
    #[error("the vault has no token key; run `pii-vault init`")]
    NoTokenKey,
}

impl KeyringError {
    /// Whether trying again may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Aws(error) => error.is_transient(),
            Self::Db(error) => error.is_transient(),
            Self::Commitment { .. } | Self::KmsKeyOff { .. } | Self::NoTokenKey => false,
        }
    }

    /// Whether it is for a KMS key being out of use, which somebody can take back.
    #[must_use]
    pub fn is_key_off(&self) -> bool {
        match self {
            Self::KmsKeyOff { .. } => true,
            Self::Aws(error) => error.is_key_off(),
            Self::Db(_) | Self::Commitment { .. } | Self::NoTokenKey => false,
        }
    }

    /// Whether trying again may help a process that has called AWS before: see [`AwsError::may_pass`].
    #[must_use]
    pub fn may_pass(&self) -> bool {
        self.is_transient() || matches!(self, Self::Aws(error) if error.may_pass())
    }
}
