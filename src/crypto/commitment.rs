use subtle::ConstantTimeEq as _;

use super::SecretKey;

const INFO: &str = "pii-vault/v1/commit";

/// `HKDF(key, "pii-vault/v1/commit")`: says which key a wrapped key must unwrap to, and nothing else about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitment([u8; 32]);

/// A wrapped key unwrapped to another key than the one that was stored.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the unwrapped key is not the one that was committed to")]
pub struct CommitmentMismatch;

impl Commitment {
    /// The commitment to `key`.
    #[must_use]
    pub fn to(key: &SecretKey) -> Self {
        Self(*key.derive(INFO).expose())
    }

    /// Compares in constant time.
    ///
    /// # Errors
    /// [`CommitmentMismatch`], also where what is stored is not 32 bytes long.
    pub fn verify(stored: &[u8], key: &SecretKey) -> Result<(), CommitmentMismatch> {
        if bool::from(Self::to(key).0.as_slice().ct_eq(stored)) { Ok(()) } else { Err(CommitmentMismatch) }
    }

    /// The 32 bytes to store beside the wrapped key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_committed_key_verifies() {
        let key = SecretKey::from_unwrapped(vec![1; 32]).unwrap();
        let other = SecretKey::from_unwrapped(vec![2; 32]).unwrap();
        let commitment = Commitment::to(&key);
        assert_eq!(Commitment::verify(commitment.as_bytes(), &key), Ok(()));
        assert_eq!(Commitment::verify(commitment.as_bytes(), &other), Err(CommitmentMismatch));
        assert_eq!(Commitment::verify(&commitment.as_bytes()[..31], &key), Err(CommitmentMismatch));
        assert_eq!(Commitment::verify(&[], &key), Err(CommitmentMismatch));
    }
}
