//! Lower-case hex, which is how hashes are written in text.

/// The digits of some bytes.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hash of exactly 64 lower-case digits; `None` for all else.
#[must_use]
pub fn of_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let pairs = text.as_bytes().chunks(2);
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok())?;
    }
    // What is longer, upper-case or signed is not written like this.
    (hex(&bytes) == text).then_some(bytes)
}
