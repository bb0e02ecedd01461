use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::mem;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::bufread::MultiGzDecoder;
use serde_json::json;
use zeroize::Zeroizing;

use crate::aws::queue::LARGEST_BODY;
use crate::domain::{Reason, Refusal};

/// How a gzip stream begins (RFC 1952, section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The most lines of one chunk, and the bytes at which it ends.
const CHUNK_LINES: usize = 100;
const CHUNK_BYTES: usize = LARGEST_BODY;

/// Lines of a file, in chunks of bounded size, with their numbers from 1. Inflates gzip, several members too.
pub(super) struct LineReader {
    input: Box<dyn BufRead + Send>,
    /// Numbers the line that is read next.
    next: u64,
    /// The first line that no [`Line`] accounts for yet.
    since: u64,
}

/// A line that says something.
pub(super) struct Line {
    pub(super) number: u64,
    /// The line itself and the blank ones before it.
    pub(super) since: u64,
    pub(super) body: Zeroizing<String>,
    /// Why it cannot be kept as it came.
    pub(super) refusal: Option<Refusal>,
}

/// What one read brought, and what ended it.
pub(super) struct Chunk {
    pub(super) lines: Vec<Line>,
    pub(super) end: End,
}

pub(super) enum End {
    /// There may be more.
    Open,
    /// That was all. Lines from `since` on, up to the one before `next`, are blank.
    Reached { since: u64, next: u64 },
    /// Reading line `.0` failed. What had come of it is not in the chunk.
    Failed(u64, io::Error),
}

impl LineReader {
    /// Reads the first bytes to tell gzip from text.
    pub(super) fn new(mut input: impl Read + Send + 'static, from: u64) -> io::Result<Self> {
        let mut magic = Vec::with_capacity(GZIP.len());
        input.by_ref().take(2).read_to_end(&mut magic)?;
        let is_gzip = magic == GZIP;
        let input = BufReader::with_capacity(1 << 16, Cursor::new(magic).chain(input));
        let mut input: Box<dyn BufRead + Send> = if is_gzip {
            Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(input)))
        } else {
            Box::new(input)
        };
        let mut next = 1;
        while next < from && input.skip_until(b'\n')? > 0 {
            next += 1;
        }
        if next < from {
            return Err(io::Error::other(format!("the input has only {} lines", next - 1)));
        }
        Ok(Self { input, next, since: next })
    }

    pub(super) fn chunk(&mut self) -> Chunk {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while lines.len() < CHUNK_LINES && bytes < CHUNK_BYTES {
            match self.line() {
                Ok(Some(line)) => {
                    bytes += line.body.len();
                    lines.push(line);
                }
                Ok(None) => return Chunk { lines, end: End::Reached { since: self.since, next: self.next } },
                Err(error) => return Chunk { lines, end: End::Failed(self.next, error) },
            }
        }
        Chunk { lines, end: End::Open }
    }

    /// The next line that is not blank.
    fn line(&mut self) -> io::Result<Option<Line>> {
        loop {
            let mut bytes = Zeroizing::new(Vec::with_capacity(1024));
            // No more than a body may have, and its line feed.
            let most = u64::try_from(LARGEST_BODY + 1).unwrap_or(u64::MAX);
            if self.input.by_ref().take(most).read_until(b'\n', &mut bytes)? == 0 {
                return Ok(None);
            }
            let mut excess = 0;
            if bytes.last() == Some(&b'\n') {
                bytes.pop();
            } else if bytes.len() > LARGEST_BODY {
                excess = self.input.skip_until(b'\n')?;
            }
            let number = self.next;
            self.next += 1;
            // A byte order mark is the file's, not the first line's.
            if number == 1 && bytes.starts_with(b"\xef\xbb\xbf") {
                bytes.drain(..3);
            }
            if bytes.trim_ascii().is_empty() && excess == 0 && bytes.len() <= LARGEST_BODY {
                continue;
            }
            let since = mem::replace(&mut self.since, self.next);
            let (body, refusal) = body(number, bytes, excess);
            return Ok(Some(Line { number, since, body, refusal }));
        }
    }
}

/// A line that cannot be kept as it came becomes a JSON object, which says so. Its refusal is not one that this object
/// would meet.
fn body(number: u64, mut bytes: Zeroizing<Vec<u8>>, excess: usize) -> (Zeroizing<String>, Option<Refusal>) {
    if bytes.len() > LARGEST_BODY {
        let kept = json!({"line": number, "line_bytes": bytes.len() + excess});
        return (Zeroizing::new(kept.to_string()), Some(Reason::TooLong.into()));
    }
    match String::from_utf8(mem::take(&mut *bytes)) {
        Ok(text) => (Zeroizing::new(text), None),
        Err(error) => {
            let bytes = Zeroizing::new(error.into_bytes());
            let encoded = Zeroizing::new(STANDARD.encode(&*bytes));
            let kept = Zeroizing::new(["{\"line_base64\":\"", encoded.as_str(), "\"}"].concat());
            (kept, Some(Reason::InvalidJson.into()))
        }
    }
}

#[cfg(test)]
mod tests;
