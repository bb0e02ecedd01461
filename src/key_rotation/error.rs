use crate::aws::AwsError;
use crate::crypto::RandomnessError;
use crate::db::rotation::kek::Wrapped;
use crate::db::{DbError, Fault};
use crate::domain::{AccessRefusal, KeyId};
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
    /// KMS would not wrap a key anew, and what was waited for did not come.
    #[error("key {key}, which {kms_key} wraps")]
    Rewrap {
        /// The key.
        key: KeyId,
        /// ARN of the KMS key that wraps it.
        kms_key: String,
        /// Why.
        source: AwsError,
    },
    /// No key unwraps of those that were tried.
    #[error("KMS unwraps none of {0} keys that were tried: they were altered, or are another vault's")]
    NoneUnwraps(usize),
    /// The operating system.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// Keys went out of use while a page was worked on.
    #[error("keys changed meanwhile; the page is worked on anew")]
    KeysChanged,
    /// The KMS key that wraps a data key is disabled or about to be deleted.
    #[error(
        "the KMS key {kms_key}, which wraps data key {key}, is disabled or about to be deleted; enable it, or delete it \
         for good: then the rows under it are passed over"
    )]
    KmsKeyOff {
        /// The data key.
        key: KeyId,
        /// ARN of the KMS key.
        kms_key: String,
    },
    /// The token keys of a rotation are not both in use.
    #[error("the token keys of this rotation are not both in use any more; see `pii-vault key-rotation status`")]
    TokenKeysGone,
    /// Somebody finished the rotation, rolled it back or gave it up.
    #[error("the rotation is over: somebody has finished it, rolled it back, or given it up")]
    Over,
    /// Writing what goes out.
    #[error("writing")]
    Write(#[source] std::io::Error),
    /// It was waited out already, for as long as patience lasted.
    #[error(transparent)]
    WaitedOut(Box<RotationError>),
    /// A task of ours panicked.
    #[error("a task ended unexpectedly")]
    Task,
}

impl RotationError {
    /// Why a function of the vault's hands out nothing, where that is what happened.
    #[must_use]
    pub fn refusal(&self) -> Option<AccessRefusal> {
        match self {
            Self::Db(error) | Self::Key(KeyringError::Db(error)) => error.refusal(),
            Self::WaitedOut(error) => error.refusal(),
            _ => None,
        }
    }

    /// Whether the work on it ended because somebody ended the rotation.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Over) || matches!(self, Self::Db(error) if error.fault() == Fault::RotationOver)
    }

    pub(super) fn rewrap(key: &Wrapped, source: AwsError) -> Self {
        Self::Rewrap { key: key.id(), kms_key: key.kms_key.clone(), source }
    }

    /// The same of a run that PostgreSQL has let work: a server that is stopped, or fails over, refuses as well.
    /// So does AWS where credentials are being renewed, once it has answered.
    pub(super) fn may_pass_amid_work(&self, worked: bool) -> bool {
        self.may_pass()
            || match self {
                Self::Db(error) | Self::Key(KeyringError::Db(error)) => error.is_transient(),
                Self::Key(error) => error.may_pass() && worked,
                Self::Aws(error) => error.may_pass() && worked,
                _ => false,
            }
    }

    /// Whether to wait and try again: for a checkpoint too, and for somebody who enables a KMS key. A refusal by
    /// PostgreSQL is the end: somebody is there to read it.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Db(error) | Self::Key(KeyringError::Db(error)) => {
                matches!(error.refusal(), Some(AccessRefusal::NoCheckpoint | AccessRefusal::NotDurable))
                    || error.is_transient() && error.fault() != Fault::Refused
            }
            Self::Key(error) => error.is_transient() || error.is_key_off(),
            Self::Aws(error) => error.is_transient() || error.is_key_off(),
            Self::KeysChanged | Self::KmsKeyOff { .. } => true,
            Self::WaitedOut(_)
            | Self::Rewrap { .. }
            | Self::NoneUnwraps(_)
            | Self::Randomness(_)
            | Self::TokenKeysGone
            | Self::Over
            | Self::Write(_)
            | Self::Task => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::AwsFault;

    #[test]
    fn credentials_that_were_there_are_waited_for_and_others_are_not() {
        let renewed = || AwsError::new("kms:Decrypt", AwsFault::NotConfigured);
        for error in [RotationError::Aws(renewed()), RotationError::Key(renewed().into())] {
            assert!(error.may_pass_amid_work(true));
            assert!(!error.may_pass_amid_work(false) && !error.may_pass());
        }
        let denied = RotationError::Aws(AwsError::new("kms:Decrypt", AwsFault::Denied));
        assert!(!denied.may_pass_amid_work(true));
    }

    #[test]
    fn a_kms_key_that_is_off_is_waited_for() {
        let off = KeyringError::KmsKeyOff { key: KeyId::random(), kms_key: "arn".to_owned() };
        assert!(!off.is_transient() && !off.may_pass(), "nobody else waits for it");
        assert!(RotationError::Key(off).may_pass());
        assert!(!RotationError::Key(KeyringError::NoTokenKey).may_pass());
    }

    #[test]
    fn what_was_waited_out_is_not_waited_for_again() {
        let away = RotationError::Aws(AwsError::new("kms:Decrypt", AwsFault::Unreachable));
        assert!(away.may_pass());
        assert!(!RotationError::WaitedOut(away.into()).may_pass_amid_work(true));
    }
}
