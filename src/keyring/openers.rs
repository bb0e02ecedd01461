use std::sync::Arc;

use super::KeyringError;
use crate::aws::{AwsError, AwsFault, EncryptionContext, KeyWrapper};
use crate::crypto::Opener;
use crate::db::sealing_keys::{Seals, WrappedKey};
use crate::domain::{KeyId, Purpose, VaultId};

/// Unwraps the keys of one purpose to open what they sealed, and keeps the latest, so that rows that come key by key
/// ask KMS once for each.
pub struct Openers<W> {
    wrapper: Arc<W>,
    vault: VaultId,
    purpose: Purpose,
    most: usize,
    // The latest used comes last. That a key does not open is kept too.
    kept: Vec<(KeyId, Result<Opener, Unopenable>)>,
}

/// Why nothing opens that names a key, whatever it holds. Trying again does not help; the rows of other keys may open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unopenable {
    /// It unwraps to another key than the one that was stored.
    #[error("its key is not the one that was committed to")]
    Commitment,
    /// KMS does not take it for what it wrapped under this context.
    #[error("its wrapped key was altered or moved: KMS does not unwrap it")]
    WrappedKey,
    /// The KMS key that wraps it is gone.
    #[error("the KMS key that wraps its key is deleted or misnamed")]
    KmsKey,
    /// The KMS key that wraps it is out of use; somebody can take that back.
    #[error("the KMS key that wraps its key is disabled or about to be deleted")]
    KmsKeyOff,
}

impl<W: KeyWrapper> Openers<W> {
    /// No key yet, and `most` at once: one that was in use for a day takes some 2 MiB once it has opened its last step.
    pub fn new(wrapper: Arc<W>, vault: VaultId, opens: Seals, most: usize) -> Self {
        Self { wrapper, vault, purpose: opens.purpose(), most, kept: Vec::new() }
    }

    /// What opens under `key`, or why nothing does.
    ///
    /// # Errors
    /// [`KeyringError`] where KMS cannot be asked: it says nothing about the key.
    pub async fn get(&mut self, key: &WrappedKey) -> Result<Result<&mut Opener, Unopenable>, KeyringError> {
        let latest = match self.kept.iter().position(|(id, _)| *id == key.id) {
            Some(index) => self.kept.remove(index),
            None => {
                let unwrapped = self.unwrap(key).await?;
                if !self.kept.is_empty() && self.kept.len() >= self.most {
                    drop(self.kept.remove(0));
                }
                (key.id, unwrapped)
            }
        };
        let (_, opener) = self.kept.push_mut(latest);
        Ok(opener.as_mut().map_err(|why| *why))
    }

    /// The same of a key that [`Self::get`] brought just now, for who cannot wait for KMS.
    pub fn kept(&mut self, key: KeyId) -> Option<Result<&mut Opener, Unopenable>> {
        let (_, opener) = self.kept.iter_mut().find(|(id, _)| *id == key)?;
        Some(opener.as_mut().map_err(|why| *why))
    }

    /// Asks KMS anew for this key next time.
    pub fn forget(&mut self, key: KeyId) {
        self.kept.retain(|(id, _)| *id != key);
    }

    async fn unwrap(&self, key: &WrappedKey) -> Result<Result<Opener, Unopenable>, KeyringError> {
        let context = EncryptionContext { vault: self.vault, purpose: self.purpose, key: key.id };
        match self.wrapper.unwrap(&key.kms_key, &key.wrapped_key, context).await {
            Ok(secret) => Ok(Opener::new(secret, &key.commitment, key.max_step).map_err(|_| Unopenable::Commitment)),
            Err(error) => unopenable(&error).map(Err).ok_or(KeyringError::Aws(error)),
        }
    }
}

/// By the errors of `Decrypt` in the KMS API reference. A refusal for lack of a right is none of them: it is likely to
/// be the same for every key, and somebody can lift it.
fn unopenable(error: &AwsError) -> Option<Unopenable> {
    match (error.fault(), error.code()) {
        _ if error.is_key_off() => Some(Unopenable::KmsKeyOff),
        (AwsFault::Malformed, _)
        | (_, Some("InvalidCiphertextException" | "IncorrectKeyException" | "InvalidKeyUsageException")) => {
            Some(Unopenable::WrappedKey)
        }
        (AwsFault::NotFound, _) => Some(Unopenable::KmsKey),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::aws::GeneratedKey;
    use crate::crypto::{Commitment, SecretKey};

    const KEPT: usize = 16;

    /// Unwraps a blob to a key of its first byte; 0 is out of reach and 1 was never wrapped.
    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl KeyWrapper for Counting {
        async fn generate(&self, _: EncryptionContext) -> Result<GeneratedKey, AwsError> {
            Err(AwsError::new("generate", AwsFault::Refused))
        }

        async fn unwrap(&self, _: &str, wrapped: &[u8], _: EncryptionContext) -> Result<SecretKey, AwsError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            match wrapped[0] {
                0 => Err(AwsError::new("unwrap", AwsFault::Unreachable)),
                1 => Err(AwsError::new("unwrap", AwsFault::Malformed)),
                byte => Ok(key(byte)),
            }
        }
    }

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_unwrapped(vec![byte; 32]).unwrap()
    }

    fn wrapped(byte: u8) -> WrappedKey {
        WrappedKey {
            id: KeyId::random(),
            wrapped_key: vec![byte],
            kms_key: String::new(),
            commitment: Commitment::to(&key(byte)).as_bytes().to_vec(),
            max_step: 1,
        }
    }

    fn openers() -> (Arc<Counting>, Openers<Counting>) {
        let kms = Arc::new(Counting::default());
        (kms.clone(), Openers::new(kms, VaultId::random(), Seals::DeadLetters, KEPT))
    }

    #[tokio::test]
    async fn a_key_is_unwrapped_once_while_it_is_kept() {
        let (kms, mut openers) = openers();
        let keys: Vec<_> = (2..).map(wrapped).take(KEPT + 1).collect();
        for key in keys.iter().take(KEPT).cycle().take(3 * KEPT) {
            assert!(openers.get(key).await.unwrap().is_ok());
        }
        assert_eq!(kms.0.load(Ordering::SeqCst), KEPT);
        // One more drops the one that was used the longest ago, and no other.
        for index in [KEPT, KEPT - 1, 1, 0] {
            assert!(openers.get(&keys[index]).await.unwrap().is_ok());
        }
        assert_eq!((kms.0.load(Ordering::SeqCst), openers.kept.len()), (KEPT + 2, KEPT));
    }

    #[tokio::test]
    async fn a_key_that_does_not_open_is_known_as_such_and_a_fault_is_not_kept() {
        let (kms, mut openers) = openers();
        let (mut mismatched, altered, away) = (wrapped(7), wrapped(1), wrapped(0));
        mismatched.wrapped_key = vec![8];
        for _ in 0..2 {
            assert_eq!(openers.get(&mismatched).await.unwrap().unwrap_err(), Unopenable::Commitment);
            assert_eq!(openers.get(&altered).await.unwrap().unwrap_err(), Unopenable::WrappedKey);
            assert!(openers.get(&away).await.unwrap_err().is_transient());
        }
        assert_eq!(kms.0.load(Ordering::SeqCst), 4);
    }
}
