//! The padded plaintext of a value: `u16 BE length ‖ text ‖ zeros`.
//!
//! To 48 bytes for an ip, so that all of them look alike; to the next multiple of 32 for a device id, whose bucket
//! therefore shows.

use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::domain::{ClientIp, DeviceId, Field};

/// No text grows by more than this when padded.
pub(super) const MAX_OVERHEAD: usize = IP_BLOCK;

const LENGTH_PREFIX: usize = 2;
const IP_BLOCK: usize = 48;
const DEVICE_ID_BLOCK: usize = 32;

/// How many bytes a text of `length` bytes takes, or `None` where the field cannot hold it.
fn padded_length(field: Field, length: usize) -> Option<usize> {
    match field {
        Field::Ip => (length <= ClientIp::MAX_BYTES).then_some(IP_BLOCK),
        Field::DeviceId => {
            (length <= DeviceId::MAX_BYTES).then_some((LENGTH_PREFIX + length).next_multiple_of(DEVICE_ID_BLOCK))
        }
    }
}

/// Appends the padded text to `out`; `None` where it is too long.
pub(super) fn append(out: &mut Vec<u8>, field: Field, text: &str) -> Option<()> {
    let length = u16::try_from(text.len()).ok()?;
    let padded = padded_length(field, text.len())?;
    let end = out.len() + padded;
    out.reserve_exact(padded);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
    out.resize(end, 0);
    Some(())
}

/// The text of a padded plaintext; `None` where it is not one that [`append`] makes.
pub(super) fn parse(field: Field, block: &Zeroizing<Vec<u8>>) -> Option<SecretString> {
    let (length, rest) = block.split_first_chunk::<LENGTH_PREFIX>()?;
    let (text, padding) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    if text.is_empty() || padded_length(field, text.len())? != block.len() || padding.iter().any(|&byte| byte != 0) {
        return None;
    }
    Some(SecretString::from(str::from_utf8(text).ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    use super::*;

    fn padded(field: Field, text: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        append(&mut out, field, text)?;
        Some(out)
    }

    #[test]
    fn sizes_are_those_of_the_format() {
        for (length, size) in [(1, 32), (30, 32), (31, 64), (62, 64), (63, 96), (256, 288)] {
            assert_eq!(padded(Field::DeviceId, &"x".repeat(length)).map(|block| block.len()), Some(size));
        }
        assert_eq!(padded(Field::Ip, "::").map(|block| block.len()), Some(48));
        assert_eq!(padded(Field::Ip, &"x".repeat(45)).map(|block| block.len()), Some(48));
        assert_eq!(padded(Field::Ip, &"x".repeat(46)), None);
        assert_eq!(padded(Field::DeviceId, &"x".repeat(257)), None);
    }

    #[test]
    fn a_malformed_block_is_refused() {
        let good = padded(Field::DeviceId, "abc").unwrap();
        let refused = |block: Vec<u8>| parse(Field::DeviceId, &Zeroizing::new(block)).is_none();
        assert!(!refused(good.clone()));
        let altered = |index: usize, byte: u8| {
            let mut block = good.clone();
            block[index] = byte;
            block
        };
        assert!(refused(altered(31, 1)), "padding that is not zero");
        assert!(refused(altered(1, 2)), "a length that leaves text in the padding");
        assert!(refused(altered(1, 40)), "a length beyond the block");
        assert!(refused(altered(2, 0xFF)), "text that is no UTF-8");
        assert!(refused([good.clone(), vec![0; 32]].concat()), "a block of padding too many");
        assert!(refused(vec![0]) && refused(vec![]), "no length");
        assert!(parse(Field::Ip, &Zeroizing::new(good)).is_none(), "a device id's size in an ip");
    }

    proptest! {
        #[test]
        fn text_survives(text in "\\PC{1,60}") {
            let block = Zeroizing::new(padded(Field::DeviceId, &text).ok_or_else(|| TestCaseError::fail("refused"))?);
            prop_assert_eq!(block.len() % 32, 0);
            let parsed = parse(Field::DeviceId, &block);
            prop_assert_eq!(parsed.as_ref().map(|text| text.expose_secret()), Some(text.as_str()));
        }
    }
}
