use time::{Date, OffsetDateTime};

/// The UTC day of an SQS `SentTimestamp` (milliseconds since the Unix epoch, as SQS writes it).
///
/// Half of an event's primary key: a redelivery has the same `SentTimestamp`, hence the same day. `None` where the
/// text is no such number or lies outside of the years 1 to 9999.
#[must_use]
pub fn create_date(sent_timestamp: &str) -> Option<Date> {
    let milliseconds: i64 = sent_timestamp.parse().ok()?;
    let day = OffsetDateTime::from_unix_timestamp(milliseconds.div_euclid(1000)).ok()?.date();
    (day.year() >= 1).then_some(day)
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    #[test]
    fn the_day_turns_at_midnight_utc() {
        assert_eq!(create_date("1767225599999"), Some(date!(2025 - 12 - 31)));
        assert_eq!(create_date("1767225600000"), Some(date!(2026 - 01 - 01)));
        assert_eq!(create_date("-1"), Some(date!(1969 - 12 - 31)));
    }

    #[test]
    fn what_is_no_timestamp_has_no_day() {
        for text in ["", "now", "1.5", "99999999999999999999", "9223372036854775807"] {
            assert_eq!(create_date(text), None, "{text}");
        }
    }
}
