use std::fmt::{self, Write as _};

use crate::domain::drives_terminal;

/// Text of another's making, for a terminal: what would move the cursor, change colours or turn the direction of
/// writing is shown as its number.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match drives_terminal(c) {
                true => write!(f, "{}", c.escape_unicode())?,
                false => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_as_its_number() {
        assert_eq!(Escaped("a\u{1b}[2Jb\n").to_string(), r"a\u{1b}[2Jb\u{a}");
        assert_eq!(Escaped("\u{202e}x\u{9b}é設").to_string(), r"\u{202e}x\u{9b}é設");
    }
}
