use std::fmt;
use std::io::{self, Read};

use zeroize::Zeroizing;

use crate::crypto::{Token, Tokenizer};
use crate::db::lookups::LOOKUP_VALUES;
use crate::domain::{ClientIp, DeviceId, Field};

/// Line numbers are named up to this many, and counted beyond it.
const NAMED: usize = 20;

/// The longest input that can be of use: each value with its line end.
const MAX_BYTES: usize = LOOKUP_VALUES * (DeviceId::MAX_BYTES + 2);

/// Values of one field, in the order of their lines: 1 to 10,000 of them.
#[derive(Debug)]
pub struct Values(Parsed);

#[derive(Debug)]
enum Parsed {
    Ips(Vec<ClientIp>),
    DeviceIds(Vec<DeviceId>),
}

/// What was read is no list of values. Holds no part of it.
#[derive(Debug, thiserror::Error)]
pub enum ValuesError {
    /// There is not a line.
    #[error("there is no value: give one a line on standard input")]
    Nothing,
    /// More lines than a look-up takes.
    #[error("there are more than {LOOKUP_VALUES} values: look them up part by part")]
    TooMany,
    /// Lines that ingestion would not take either.
    #[error("{0}. Nothing was looked up")]
    Lines(BadLines),
    /// It could not be read.
    #[error("reading standard input")]
    Read(#[from] io::Error),
}

/// Lines that hold no value of the field.
#[derive(Debug)]
pub struct BadLines {
    field: Field,
    numbers: Vec<usize>,
}

impl Values {
    /// Reads a value a line, each ended by LF or CR LF, the last perhaps by nothing. Nothing else is trimmed: what
    /// differs by a space is another value, with another token.
    ///
    /// # Errors
    /// [`ValuesError`].
    pub fn read(field: Field, input: impl Read) -> Result<Self, ValuesError> {
        // With room to spare, so that it never moves and leaves a copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 64));
        let limit = u64::try_from(MAX_BYTES + 1).unwrap_or(u64::MAX);
        input.take(limit).read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            return Err(ValuesError::Nothing);
        }
        let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').map(value).collect();
        if lines.len() > LOOKUP_VALUES {
            return Err(ValuesError::TooMany);
        }
        let parsed = match field {
            Field::Ip => each(&lines, |text| ClientIp::parse(text).ok()).map(Parsed::Ips),
            Field::DeviceId => each(&lines, |text| DeviceId::parse(text).ok()).map(Parsed::DeviceIds),
        };
        parsed.map(Self).map_err(|numbers| ValuesError::Lines(BadLines { field, numbers }))
    }

    /// Of which field they are.
    #[must_use]
    pub fn field(&self) -> Field {
        match self.0 {
            Parsed::Ips(_) => Field::Ip,
            Parsed::DeviceIds(_) => Field::DeviceId,
        }
    }

    pub(super) fn len(&self) -> usize {
        match &self.0 {
            Parsed::Ips(ips) => ips.len(),
            Parsed::DeviceIds(ids) => ids.len(),
        }
    }

    pub(super) fn tokens(&self, tokenizer: &Tokenizer) -> Vec<Token> {
        match &self.0 {
            Parsed::Ips(ips) => ips.iter().map(|ip| tokenizer.ip(ip)).collect(),
            Parsed::DeviceIds(ids) => ids.iter().map(|id| tokenizer.device_id(id)).collect(),
        }
    }
}

impl fmt::Display for BadLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.field {
            Field::Ip => "IP address",
            Field::DeviceId => "device id of 1 to 256 bytes of UTF-8",
        };
        let named: Vec<_> = self.numbers.iter().take(NAMED).map(ToString::to_string).collect();
        let lines = if self.numbers.len() == 1 { "line" } else { "lines" };
        write!(f, "no {what} in {lines} {}", named.join(", "))?;
        match self.numbers.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Without its line end.
fn value(line: &[u8]) -> &[u8] {
    match line.strip_suffix(b"\n") {
        Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
        None => line,
    }
}

/// Each line as a value, or the numbers of those that are none.
fn each<T>(lines: &[&[u8]], parse: impl Fn(String) -> Option<T>) -> Result<Vec<T>, Vec<usize>> {
    let (mut values, mut bad) = (Vec::with_capacity(lines.len()), Vec::new());
    for (index, line) in lines.iter().enumerate() {
        // The parser wipes the copy that it takes.
        match std::str::from_utf8(line).ok().and_then(|text| parse(text.to_owned())) {
            Some(value) => values.push(value),
            None => bad.push(index + 1),
        }
    }
    if bad.is_empty() { Ok(values) } else { Err(bad) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(input: &[u8]) -> Result<Vec<String>, String> {
        match Values::read(Field::DeviceId, input) {
            Ok(Values(Parsed::DeviceIds(ids))) => Ok(ids.iter().map(|id| id.text().to_owned()).collect()),
            Ok(Values(Parsed::Ips(_))) => panic!("another field"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn one_line_end_is_taken_off_and_nothing_else() {
        let found = ids(b"a\n b \r\nc\r\r\nd\r").unwrap();
        assert_eq!(found, ["a", " b ", "c\r", "d\r"]);
        assert_eq!(ids(b"a\n").unwrap(), ["a"]);
    }

    #[test]
    fn lines_without_a_value_are_named_by_number() {
        assert!(ids(b"").unwrap_err().contains("no value"));
        assert!(ids(b"\n").unwrap_err().contains("line 1."));
        let told = ids(&[b"a\n\n\xFF\nsecret\0\n\r\n".as_slice(), &[b'x'; 257]].concat()).unwrap_err();
        assert!(told.contains("lines 2, 3, 4, 5, 6.") && !told.contains("secret"), "{told}");
        let told = ids(&b"\n".repeat(25)).unwrap_err();
        assert!(told.contains("19, 20 and 5 more."), "{told}");
        let told = Values::read(Field::Ip, b"1.2.3.4\n1.2.3\n::ffff:1.2.3.4\n".as_slice()).unwrap_err().to_string();
        assert!(told.contains("no IP address in line 2."), "{told}");
    }

    #[test]
    fn ten_thousand_of_the_longest_are_taken_and_no_more() {
        let line = [&[b'x'; 256], b"\r\n".as_slice()].concat();
        assert_eq!(ids(&line.repeat(10_000)).unwrap().len(), 10_000);
        assert!(ids(&line.repeat(10_001)).unwrap_err().contains("more than 10000"));
        assert!(ids(&b"x\n".repeat(10_001)).unwrap_err().contains("more than 10000"));
        // Without an end in sight, in bounded memory.
        let endless = Values::read(Field::DeviceId, io::repeat(b'x')).unwrap_err().to_string();
        assert!(endless.contains("line 1."), "{endless}");
    }
}
