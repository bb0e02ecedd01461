//! Checkpoints of the audit log: a signed head, which anybody with the public key can hold the log to.
//!
//! `keys/FORMAT.md`, section "Checkpoints", gives the bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use p256::pkcs8::{DecodePublicKey as _, EncodePublicKey as _, LineEnding};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::hex::{hex, of_hex};
use crate::domain::VaultId;
use crate::domain::audit::UnixMicros;

/// What the first checkpoint of a vault follows: no checkpoint.
pub const NO_CHECKPOINT: [u8; 32] = [0; 32];

/// It stands before the signed bytes and in every copy.
const LABEL: &str = "pii-vault/v1/checkpoint";

/// What is signed: that the audit log's entry `seq` has this hash, and with it all entries before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The vault.
    pub vault: VaultId,
    /// The entry.
    pub seq: i64,
    /// Its hash.
    pub head_hash: [u8; 32],
    /// [`Checkpoint::hash`] of the checkpoint before; [`NO_CHECKPOINT`] in the first.
    pub previous_hash: [u8; 32],
    /// When it was signed, by the clock of who signed it.
    pub at: UnixMicros,
}

/// A checkpoint with a signature, which is not verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// What is signed.
    pub checkpoint: Checkpoint,
    /// The key, as KMS names it; of no account for who verifies.
    pub signing_key: String,
    /// ECDSA on P-256 with SHA-256, in DER.
    pub signature: Vec<u8>,
}

/// These bytes are no copy of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no checkpoint of the format pii-vault/v1/checkpoint")]
pub struct CopyError;

/// The signature is not by this key over these bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct NotSigned;

/// A checkpoint that is to cover a record does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the checkpoint for entry {seq} of the audit log, which is to cover the record, does not verify under the public key \
     that is set: another key signed it, or nobody did"
)]
pub struct NotCovered {
    /// Its entry.
    pub seq: i64,
}

/// The public key that verifies checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointKey(VerifyingKey);

/// What was given is no public key on P-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no ECDSA public key on P-256 (NIST); `pii-vault audit public-key` prints the right one")]
pub struct KeyError;

impl Checkpoint {
    /// The bytes that are signed.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(147);
        let (seq, at) = (self.seq.to_be_bytes(), self.at.0.to_be_bytes());
        let parts: [(u32, &[u8]); 6] = [
            (23, LABEL.as_bytes()),
            (16, self.vault.0.as_bytes()),
            (8, &seq),
            (32, &self.head_hash),
            (32, &self.previous_hash),
            (8, &at),
        ];
        for (length, part) in parts {
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }

    /// SHA-256 over the signed bytes, by which the next checkpoint names this one.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.signed_bytes()).into()
    }

    /// Whether both say the same of the same entry, whenever each was signed.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        Self { at: other.at, ..*self } == *other
    }
}

impl SignedCheckpoint {
    /// # Errors
    /// [`NotSigned`].
    pub fn verify(&self, key: &CheckpointKey) -> Result<(), NotSigned> {
        key.verify(&self.checkpoint.signed_bytes(), &self.signature)
    }

    /// Whether it is of this vault, for this entry or a later one, and signed.
    ///
    /// # Errors
    /// [`NotCovered`].
    pub fn covers(&self, vault: VaultId, seq: i64, key: &CheckpointKey) -> Result<(), NotCovered> {
        let covers = self.checkpoint.vault == vault && self.checkpoint.seq >= seq && self.verify(key).is_ok();
        covers.then_some(()).ok_or(NotCovered { seq: self.checkpoint.seq })
    }

    /// The name of a copy: the entry's number in 20 digits, so that names sort as numbers do.
    #[must_use]
    pub fn file_name(seq: i64) -> String {
        format!("{seq:020}.json")
    }

    /// The number in a copy's name; `None` where it is none.
    #[must_use]
    pub fn seq_of(file_name: &str) -> Option<i64> {
        let seq = file_name.strip_suffix(".json")?.parse().ok()?;
        (seq > 0 && Self::file_name(seq) == file_name).then_some(seq)
    }

    /// A copy: one line of JSON with its line feed.
    #[must_use]
    pub fn to_copy(&self) -> String {
        let stored = Stored {
            format: LABEL.to_owned(),
            vault: self.checkpoint.vault.to_string(),
            seq: self.checkpoint.seq,
            head_hash: hex(&self.checkpoint.head_hash),
            previous_hash: hex(&self.checkpoint.previous_hash),
            at: self.checkpoint.at.0,
            signing_key: self.signing_key.clone(),
            signature: STANDARD.encode(&self.signature),
        };
        #[expect(clippy::expect_used, reason = "strings and numbers alone")]
        let mut line = serde_json::to_string(&stored).expect("it can be written");
        line.push('\n');
        line
    }

    /// Reads a copy. Members in another order and spaces between them are taken, other members are not.
    ///
    /// # Errors
    /// [`CopyError`].
    pub fn from_copy(copy: &[u8]) -> Result<Self, CopyError> {
        let stored: Stored = serde_json::from_slice(copy).map_err(|_| CopyError)?;
        let vault: uuid::Uuid = stored.vault.parse().map_err(|_| CopyError)?;
        let checkpoint = Checkpoint {
            vault: VaultId(vault),
            seq: stored.seq,
            head_hash: of_hex(&stored.head_hash).ok_or(CopyError)?,
            previous_hash: of_hex(&stored.previous_hash).ok_or(CopyError)?,
            at: UnixMicros(stored.at),
        };
        let signature = STANDARD.decode(&stored.signature).map_err(|_| CopyError)?;
        let signature_fits = (8..=72).contains(&signature.len()) && !stored.signing_key.is_empty();
        let written_so = stored.format == LABEL && checkpoint.vault.to_string() == stored.vault;
        if written_so && signature_fits && checkpoint.seq > 0 {
            Ok(Self { checkpoint, signing_key: stored.signing_key, signature })
        } else {
            Err(CopyError)
        }
    }
}

impl CheckpointKey {
    /// Of a PEM file, `-----BEGIN PUBLIC KEY-----`.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        VerifyingKey::from_public_key_pem(pem.trim()).map(Self).map_err(|_| KeyError)
    }

    /// Of a SubjectPublicKeyInfo in DER (RFC 5480), as KMS gives it.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        VerifyingKey::from_public_key_der(der).map(Self).map_err(|_| KeyError)
    }

    /// As a PEM file.
    #[must_use]
    pub fn to_pem(&self) -> String {
        #[expect(clippy::expect_used, reason = "a key that was read can be written")]
        self.0.to_public_key_pem(LineEnding::LF).expect("it can be written")
    }

    /// FIPS 186-5, section 6.4.2, over SHA-256.
    ///
    /// # Errors
    /// [`NotSigned`], also where the signature is no strict DER.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), NotSigned> {
        let signature = Signature::from_der(signature).map_err(|_| NotSigned)?;
        self.0.verify(message, &signature).map_err(|_| NotSigned)
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: String,
    vault: String,
    seq: i64,
    head_hash: String,
    previous_hash: String,
    at: i64,
    signing_key: String,
    signature: String,
}

#[cfg(test)]
mod tests;
