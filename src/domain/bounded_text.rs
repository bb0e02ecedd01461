use std::fmt;

use super::Reason;

/// Text that fits a `varchar(MAX)` column: at most `MAX` characters, none of them NUL.
///
/// PostgreSQL counts characters, not bytes, refuses NUL, and cuts trailing spaces beyond the limit without a word;
/// so the limit is checked here, before SQL.
#[derive(Clone, PartialEq, Eq)]
pub struct BoundedText<const MAX: usize>(String);

impl<const MAX: usize> BoundedText<MAX> {
    /// Takes `text` as it is, trailing spaces included.
    ///
    /// # Errors
    /// [`Reason::NulCharacter`] or [`Reason::TooLong`].
    pub fn parse(text: String) -> Result<Self, Reason> {
        if text.contains('\0') {
            return Err(Reason::NulCharacter);
        }
        if text.chars().nth(MAX).is_some() {
            return Err(Reason::TooLong);
        }
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Redacted: what a message carries does not belong in a log, even where the table shows it.
impl<const MAX: usize> fmt::Debug for BoundedText<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BoundedText<{MAX}>([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_counts_characters_not_bytes() {
        assert!(BoundedText::<3>::parse("äöü".to_owned()).is_ok());
        assert_eq!(BoundedText::<3>::parse("äöü ".to_owned()), Err(Reason::TooLong));
        assert!(BoundedText::<3>::parse(String::new()).is_ok());
    }

    #[test]
    fn nul_is_named_before_length() {
        assert_eq!(BoundedText::<2>::parse("a\0bc".to_owned()), Err(Reason::NulCharacter));
    }

    #[test]
    fn debug_shows_nothing() {
        let text = BoundedText::<9>::parse("secret".to_owned());
        assert!(!format!("{text:?}").contains("secret"));
    }
}
