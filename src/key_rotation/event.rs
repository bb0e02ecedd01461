//! The values of an event, or why it is passed over: by what its key and its values say.

use secrecy::{ExposeSecret as _, SecretString};

use super::error::RotationError;
use crate::aws::KeyWrapper;
use crate::crypto::{OpenError, Opener, ValueBinding, open_value};
use crate::db::rotation::SealedEvent;
use crate::db::sealing_keys::WrappedKey;
use crate::domain::{ClientIp, DeviceId, Field, RotationFailure, VaultId};
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

/// The ip and the device id as they were sealed.
pub(super) fn open(
    opener: &mut Opener,
    vault: VaultId,
    event: &SealedEvent,
) -> Result<(SecretString, SecretString), RotationFailure> {
    let mut value = |field, sealed: &[u8]| open_value(opener, &binding(vault, field, event), sealed).map_err(failure);
    Ok((value(Field::Ip, &event.ip)?, value(Field::DeviceId, &event.device_id)?))
}

/// The same, of which tokens are made. What was sealed had been parsed: what does not parse now was never sealed by us.
pub(super) fn open_parsed(
    opener: &mut Opener,
    vault: VaultId,
    event: &SealedEvent,
) -> Result<(ClientIp, DeviceId), RotationFailure> {
    let (ip, device_id) = open(opener, vault, event)?;
    // Parsing copies the text, into a type that is wiped as well.
    let ip = ClientIp::parse(ip.expose_secret().to_owned()).map_err(|_| RotationFailure::MalformedPlaintext)?;
    let device_id = DeviceId::parse(device_id.expose_secret().to_owned());
    Ok((ip, device_id.map_err(|_| RotationFailure::MalformedPlaintext)?))
}

/// What a field of the event is sealed with.
pub(super) fn binding(vault: VaultId, field: Field, event: &SealedEvent) -> ValueBinding<'_> {
    ValueBinding {
        vault,
        field,
        create_date: event.create_date,
        event: event.event,
        user_id: &event.user_id,
        key: event.key_id,
    }
}

/// Why a value does not open under its key.
fn failure(error: OpenError) -> RotationFailure {
    match error {
        OpenError::TooShort => RotationFailure::TooShort,
        OpenError::UnknownVersion => RotationFailure::UnknownVersion,
        OpenError::StepAboveMaximum => RotationFailure::StepAboveMaximum,
        OpenError::NotAuthentic => RotationFailure::NotAuthentic,
        OpenError::MalformedPlaintext => RotationFailure::MalformedPlaintext,
    }
}
