//! Why a row is passed over, by what its key and its values say.

use super::error::RotationError;
use crate::aws::KeyWrapper;
use crate::crypto::{OpenError, Opener};
use crate::db::sealing_keys::WrappedKey;
use crate::domain::RotationFailure;
use crate::keyring::{Openers, Unopenable};

/// What opens the rows of a key, or why nothing does. A KMS key that is only off says nothing about the rows: it is
/// waited for, and asked for anew.
pub(super) async fn opener<'a, W: KeyWrapper>(
    openers: &'a mut Openers<W>,
    key: Option<&WrappedKey>,
) -> Result<Result<&'a mut Opener, RotationFailure>, RotationError> {
    let Some(key) = key else { return Ok(Err(RotationFailure::KeyMissing)) };
    match openers.get(key).await?.map(|_| ()) {
        Ok(()) => {}
        Err(Unopenable::Commitment) => return Ok(Err(RotationFailure::KeyCommitment)),
        Err(Unopenable::WrappedKey | Unopenable::KmsKey) => return Ok(Err(RotationFailure::KeyDoesNotUnwrap)),
        Err(Unopenable::KmsKeyOff) => {
            openers.forget(key.id);
            return Err(RotationError::KmsKeyOff { key: key.id, kms_key: key.kms_key.clone() });
        }
    }
    Ok(openers.kept(key.id).and_then(Result::ok).ok_or(RotationFailure::KeyDoesNotUnwrap))
}

/// Why a value does not open under its key.
pub(super) fn of_value(error: OpenError) -> RotationFailure {
    match error {
        OpenError::TooShort => RotationFailure::TooShort,
        OpenError::UnknownVersion => RotationFailure::UnknownVersion,
        OpenError::StepAboveMaximum => RotationFailure::StepAboveMaximum,
        OpenError::NotAuthentic => RotationFailure::NotAuthentic,
        OpenError::MalformedPlaintext => RotationFailure::MalformedPlaintext,
    }
}
