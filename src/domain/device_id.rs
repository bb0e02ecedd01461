use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::Reason;

/// A device's identifier: 1 to 256 bytes of UTF-8 without NUL. Its canonical form is its exact bytes.
pub struct DeviceId(SecretString);

impl DeviceId {
    /// The longest identifier, in bytes.
    pub const MAX_BYTES: usize = 256;

    /// Takes the identifier as it is: nothing is trimmed, folded or normalised.
    ///
    /// # Errors
    /// [`Reason::Empty`], [`Reason::TooLong`] or [`Reason::NulCharacter`].
    pub fn parse(text: String) -> Result<Self, Reason> {
        let text = Zeroizing::new(text);
        if text.is_empty() {
            return Err(Reason::Empty);
        }
        if text.contains('\0') {
            return Err(Reason::NulCharacter);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(Reason::TooLong);
        }
        Ok(Self(SecretString::from(text.as_str())))
    }

    /// The text, byte for byte as received: what gets sealed and, as bytes, tokenised.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceId([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, Reason> {
        DeviceId::parse(text.to_owned()).map(|id| id.text().to_owned())
    }

    #[test]
    fn exact_bytes_are_kept() {
        assert_eq!(parse(" a\tB "), Ok(" a\tB ".to_owned()));
    }

    #[test]
    fn limits_are_in_bytes() {
        assert!(parse(&"x".repeat(256)).is_ok());
        assert_eq!(parse(&"ä".repeat(129)), Err(Reason::TooLong));
        assert_eq!(parse(""), Err(Reason::Empty));
        assert_eq!(parse("a\0"), Err(Reason::NulCharacter));
    }
}
