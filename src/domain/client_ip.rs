use std::fmt;
use std::net::IpAddr;

use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::Reason;

/// An IP address as received, with its canonical bytes.
///
/// Loopback, private and reserved (240/4) addresses are valid: real messages carry them.
pub struct ClientIp {
    text: SecretString,
    canonical: Zeroizing<Vec<u8>>,
}

impl ClientIp {
    /// The longest text form, in bytes: `0000:…:ffff:255.255.255.255` (RFC 4291 section 2.2).
    pub const MAX_BYTES: usize = 45;

    /// Parses an IPv4 or IPv6 address.
    ///
    /// # Errors
    /// [`Reason::InvalidIp`] for anything else: zone ids, leading zeros, ports, surrounding space.
    pub fn parse(text: String) -> Result<Self, Reason> {
        let text = Zeroizing::new(text);
        if text.len() > Self::MAX_BYTES {
            return Err(Reason::InvalidIp);
        }
        let address: IpAddr = text.parse().map_err(|_| Reason::InvalidIp)?;
        // `to_canonical` maps ::ffff:a.b.c.d, and nothing else, to a.b.c.d.
        let canonical = match address.to_canonical() {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        Ok(Self { text: SecretString::from(text.as_str()), canonical: Zeroizing::new(canonical) })
    }

    /// The text, byte for byte as received: what gets sealed.
    #[must_use]
    pub fn text(&self) -> &str {
        self.text.expose_secret()
    }

    /// The 4 or 16 address bytes in network order: what gets tokenised. An IPv4-mapped IPv6 address is IPv4.
    #[must_use]
    pub fn canonical(&self) -> &[u8] {
        &self.canonical
    }
}

impl fmt::Debug for ClientIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIp([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> Option<Vec<u8>> {
        ClientIp::parse(text.to_owned()).ok().map(|ip| ip.canonical().to_vec())
    }

    #[test]
    fn a_mapped_address_is_its_ipv4() {
        assert_eq!(canonical("::ffff:1.2.3.4"), Some(vec![1, 2, 3, 4]));
        assert_eq!(canonical("::FFFF:0102:0304"), Some(vec![1, 2, 3, 4]));
        assert_eq!(canonical("1.2.3.4"), Some(vec![1, 2, 3, 4]));
    }

    #[test]
    fn a_compatible_address_stays_ipv6() {
        assert_eq!(canonical("::1.2.3.4").map(|bytes| bytes.len()), Some(16));
    }

    #[test]
    fn spellings_of_one_ipv6_address_agree() {
        assert_eq!(canonical("2001:db8::1"), canonical("2001:0DB8:0:0:0:0:0:1"));
    }

    #[test]
    fn odd_but_real_addresses_are_valid() {
        for text in ["127.0.0.1", "10.0.0.1", "255.255.255.255", "240.162.230.101", "0.0.0.0", "::", "::1"] {
            assert!(canonical(text).is_some(), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let too_long = format!("{}1.2.3.4", "0".repeat(45));
        for text in [
            "",
            " 1.2.3.4",
            "1.2.3.4 ",
            "01.2.3.4",
            "1.2.3",
            "256.1.1.1",
            "fe80::1%eth0",
            "[::1]",
            "1.2.3.4:80",
            &too_long,
        ] {
            assert_eq!(canonical(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_ipv4_and_its_mapped_form_agree(octets: [u8; 4]) {
            let v4 = std::net::Ipv4Addr::from(octets);
            prop_assert_eq!(canonical(&v4.to_string()), Some(octets.to_vec()));
            prop_assert_eq!(canonical(&v4.to_ipv6_mapped().to_string()), Some(octets.to_vec()));
        }

        #[test]
        fn any_accepted_text_names_the_address_it_reads_as(text in "[0-9a-fA-F:.%]{0,50}") {
            if let Some(bytes) = canonical(&text) {
                let address: IpAddr = text.parse().map_err(|_| TestCaseError::fail("accepted but no address"))?;
                match address.to_canonical() {
                    IpAddr::V4(v4) => prop_assert_eq!(bytes, v4.octets().to_vec()),
                    IpAddr::V6(v6) => prop_assert_eq!(bytes, v6.octets().to_vec()),
                }
            }
        }
    }
}
