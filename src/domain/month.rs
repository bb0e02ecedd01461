use std::fmt;

use time::Date;

/// A month of UTC days: what one partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Month {
    first_day: Date,
}

impl Month {
    /// The month of a day.
    #[must_use]
    pub fn of(day: Date) -> Self {
        // Every month has a first.
        Self { first_day: day.replace_day(1).unwrap_or(day) }
    }

    /// Its first day.
    #[must_use]
    pub fn first_day(self) -> Date {
        self.first_day
    }

    /// The one after it. `None` after December 9999.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        let last = self.first_day.month().length(self.first_day.year());
        self.first_day.checked_add(time::Duration::days(last.into())).map(|first_day| Self { first_day })
    }
}

/// `2026-11`
impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.first_day.year(), u8::from(self.first_day.month()))
    }
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    #[test]
    fn months_follow_each_other_over_leap_days_and_year_ends() {
        let next = |day| Month::of(day).next().map(Month::first_day);
        assert_eq!(next(date!(2024 - 02 - 29)), Some(date!(2024 - 03 - 01)));
        assert_eq!(next(date!(2025 - 01 - 31)), Some(date!(2025 - 02 - 01)));
        assert_eq!(next(date!(2025 - 12 - 01)), Some(date!(2026 - 01 - 01)));
        assert_eq!(next(date!(9999 - 12 - 31)), None);
        assert_eq!(Month::of(date!(2025 - 02 - 28)).to_string(), "2025-02");
        assert_eq!(Month::of(date!(0001 - 12 - 31)).to_string(), "0001-12");
    }
}
