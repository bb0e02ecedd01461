use std::fmt;

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// A time as PostgreSQL keeps it and as it is hashed: microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMicros(pub i64);

impl UnixMicros {
    /// So many seconds later. A time beyond all that can be said is the last one.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }
}

impl From<OffsetDateTime> for UnixMicros {
    fn from(time: OffsetDateTime) -> Self {
        let micros = time.unix_timestamp_nanos() / 1000;
        Self(i64::try_from(micros).unwrap_or(i64::MAX))
    }
}

/// RFC 3339 in UTC, to the microsecond; the bare number where a calendar of four-digit years has no such time.
impl fmt::Display for UnixMicros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = OffsetDateTime::UNIX_EPOCH.checked_add(Duration::microseconds(self.0));
        match time.and_then(|time| time.format(&Rfc3339).ok()) {
            Some(text) => f.pad(&text),
            None => f.pad(&self.0.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_to_the_microsecond_and_never_fails() {
        assert_eq!(UnixMicros(1_767_225_600_000_001).to_string(), "2026-01-01T00:00:00.000001Z");
        assert_eq!(UnixMicros(i64::MAX).to_string(), i64::MAX.to_string());
        assert_eq!(UnixMicros(i64::MIN).to_string(), i64::MIN.to_string());
        assert_eq!(UnixMicros(i64::MAX).plus_seconds(i64::MAX), UnixMicros(i64::MAX));
    }
}
