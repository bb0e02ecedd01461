//! Sealing and opening: AES-256-GCM-SIV (RFC 8452) under the key of one ratchet step.
//!
//! Stored form: `version u8 ‖ step u32 BE ‖ nonce (12) ‖ ciphertext and tag`. The nonce is random, never derived from
//! the value: equal values look unlike.

use std::fmt;

use aes_gcm_siv::{AeadInOut as _, Aes256GcmSiv, Nonce, Tag};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::aad::FORMAT_VERSION;
use super::secret_key::RandomnessError;
use super::{DeadLetterBinding, OpenError, Opener, SealingKey, ValueBinding, text_block};

const NONCE: usize = 12;
const TAG: usize = 16;
const HEADER: usize = 1 + 4 + NONCE;

/// A sealed value or dead letter in its stored form.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

/// Seals the text of a value.
///
/// # Errors
/// [`RandomnessError`].
///
/// # Panics
/// Where the text is longer than its field allows; the types of [`crate::domain`] do not hold such a text.
pub fn seal_value(key: &SealingKey, binding: &ValueBinding<'_>, text: &str) -> Result<Sealed, RandomnessError> {
    let mut out = header(key, HEADER + text.len() + text_block::MAX_OVERHEAD + TAG)?;
    #[expect(clippy::expect_used, reason = "ClientIp and DeviceId bound the length far below the block's limit")]
    text_block::append(&mut out, binding.field, text).expect("a parsed value fits its block");
    Ok(encrypt(key, &binding.aad(key.step), out))
}

/// Seals the body of a message that is no event, as it is.
///
/// # Errors
/// [`RandomnessError`].
pub fn seal_dead_letter(key: &SealingKey, binding: &DeadLetterBinding, body: &str) -> Result<Sealed, RandomnessError> {
    let mut out = header(key, HEADER + body.len() + TAG)?;
    out.extend_from_slice(body.as_bytes());
    Ok(encrypt(key, &binding.aad(key.step), out))
}

/// Opens a sealed value.
///
/// # Errors
/// [`OpenError`], unless it is byte for byte what was sealed for this very binding.
pub fn open_value(opener: &mut Opener, binding: &ValueBinding<'_>, sealed: &[u8]) -> Result<SecretString, OpenError> {
    let block = decrypt(opener, sealed, |step| binding.aad(step))?;
    text_block::parse(binding.field, &block).ok_or(OpenError::MalformedPlaintext)
}

/// Opens a sealed dead letter.
///
/// # Errors
/// [`OpenError`], likewise.
pub fn open_dead_letter(
    opener: &mut Opener,
    binding: &DeadLetterBinding,
    sealed: &[u8],
) -> Result<SecretString, OpenError> {
    let body = decrypt(opener, sealed, |step| binding.aad(step))?;
    str::from_utf8(&body).map(SecretString::from).map_err(|_| OpenError::MalformedPlaintext)
}

impl Sealed {
    /// The bytes to store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// A buffer of `capacity` that begins with version, step and a fresh random nonce. The plaintext follows in the same
/// buffer and is encrypted in place: no copy of it is left behind.
fn header(key: &SealingKey, capacity: usize) -> Result<Vec<u8>, RandomnessError> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(|_| RandomnessError)?;
    Ok(header_with_nonce(key.step, nonce, capacity))
}

pub(super) fn header_with_nonce(step: u32, nonce: [u8; NONCE], capacity: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(capacity);
    out.push(FORMAT_VERSION);
    out.extend_from_slice(&step.to_be_bytes());
    out.extend_from_slice(&nonce);
    out
}

pub(super) fn encrypt(key: &SealingKey, aad: &[u8], mut out: Vec<u8>) -> Sealed {
    let (header, plaintext) = out.split_at_mut(HEADER);
    let (_, nonce) = header.split_at(HEADER - NONCE);
    let tag = encrypt_in_place(&key.cipher, nonce, aad, plaintext);
    out.extend_from_slice(&tag);
    Sealed(out)
}

#[expect(clippy::expect_used, reason = "RFC 8452 limits inputs to 2^36 bytes; a message is 1 MiB at most")]
fn encrypt_in_place(cipher: &Aes256GcmSiv, nonce: &[u8], aad: &[u8], plaintext: &mut [u8]) -> Tag {
    let nonce = <&Nonce>::try_from(nonce).expect("the header ends with a nonce");
    cipher.encrypt_inout_detached(nonce, aad, plaintext.into()).expect("within RFC 8452's limits")
}

fn decrypt(
    opener: &mut Opener,
    sealed: &[u8],
    aad: impl FnOnce(u32) -> Vec<u8>,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let (&version, rest) = sealed.split_first().ok_or(OpenError::TooShort)?;
    if version != FORMAT_VERSION {
        return Err(OpenError::UnknownVersion);
    }
    let (step, rest) = rest.split_first_chunk::<4>().ok_or(OpenError::TooShort)?;
    let (nonce, rest) = rest.split_first_chunk::<NONCE>().ok_or(OpenError::TooShort)?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG>().ok_or(OpenError::TooShort)?;
    let step = u32::from_be_bytes(*step);
    let key = opener.key(step)?;
    let mut plaintext = Zeroizing::new(ciphertext.to_vec());
    key.cipher
        .decrypt_inout_detached(nonce.into(), &aad(step), plaintext.as_mut_slice().into(), tag.into())
        .map_err(|_| OpenError::NotAuthentic)?;
    Ok(plaintext)
}

#[cfg(test)]
mod tests;
