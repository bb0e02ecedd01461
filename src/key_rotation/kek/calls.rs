use std::num::NonZeroU32;

use tokio_util::sync::CancellationToken;

use crate::aws::{AwsError, AwsFault, EncryptionContext, KeyRewrapper, Rewrapped};
use crate::db::rotation::kek::Wrapped;
use crate::domain::{Purpose, VaultId};
use crate::key_rotation::error::RotationError;
use crate::key_rotation::pace::Pace;
use crate::patience::Patience;

/// Calls of KMS for the keys of a purpose, at a pace, each with patience.
pub struct Calls<W> {
    wrapper: W,
    vault: VaultId,
    pub(super) purpose: Purpose,
    pace: Pace,
    pub(super) patience: Patience,
}

/// What came of a key.
#[derive(Debug)]
pub(super) enum Answer {
    /// It is wrapped anew.
    Wrapped(Rewrapped),
    /// It, and no other, is to blame.
    DoesNotUnwrap,
    /// Others would fare no better.
    Ends(RotationError),
    /// The run is to end.
    NotAsked,
}

impl<W: KeyRewrapper> Calls<W> {
    /// `rate` calls a second at most, each tried again for as long as `patience` lasts.
    pub fn new(wrapper: W, vault: VaultId, purpose: Purpose, rate: Option<NonZeroU32>, patience: Patience) -> Self {
        Self { wrapper, vault, purpose, pace: Pace::new(rate), patience }
    }

    /// Wraps a key by the KMS key `to`. `stop` ends the waiting, not a call that is under way.
    pub(super) async fn rewrap(&self, key: &Wrapped, to: &str, stop: &CancellationToken) -> Answer {
        let may_pass = |error: &AwsError| may_pass(error) && !stop.is_cancelled();
        let call = || async {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(None),
                turn = self.pace.turn() => turn.take(1),
            }
            self.once(key, to).await.map(Some)
        };
        match self.patience.wait_out(may_pass, || (), call).await {
            Ok(Some(new)) => Answer::Wrapped(new),
            Ok(None) => Answer::NotAsked,
            Err(error) if is_of_the_key(&error, &key.kms_key) => Answer::DoesNotUnwrap,
            Err(_) if stop.is_cancelled() => Answer::NotAsked,
            Err(source) => Answer::Ends(RotationError::rewrap(key, source)),
        }
    }

    /// The same without waiting for anything.
    pub(super) async fn once(&self, key: &Wrapped, to: &str) -> Result<Rewrapped, AwsError> {
        let context = EncryptionContext { vault: self.vault, purpose: self.purpose, key: key.id() };
        self.wrapper.rewrap(&key.kms_key, &key.wrapped_key, context, to).await
    }
}

/// Whether to wait: for KMS, for credentials, or for somebody who enables a key again or cancels its deletion.
fn may_pass(error: &AwsError) -> bool {
    error.may_pass() || error.is_key_off()
}

/// By the errors of `ReEncrypt` in the KMS API reference. That the KMS key to wrap by exists and can wrap was seen
/// before the rotation was recorded; so it is what the row names that does not, where KMS does not say otherwise.
pub(super) fn is_of_the_key(error: &AwsError, from: &str) -> bool {
    match error.code() {
        Some(
            "InvalidCiphertextException"
            | "IncorrectKeyException"
            | "InvalidKeyUsageException"
            | "InvalidArnException"
            | "ValidationException",
        ) => true,
        _ => error.fault() == AwsFault::NotFound && error.names(from),
    }
}
