//! Rows under titles for people, with nothing in them that drives a terminal.

use std::fmt;

/// Columns as wide as what is in them; the last one is not filled up.
pub(super) struct Table<const COLUMNS: usize> {
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    pub(super) fn new(titles: [&str; COLUMNS]) -> Self {
        Self { rows: vec![titles.map(str::to_owned)] }
    }

    pub(super) fn add(&mut self, row: [String; COLUMNS]) {
        self.rows.push(row.map(|cell| plain(&cell)));
    }
}

impl<const COLUMNS: usize> fmt::Display for Table<COLUMNS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths = [0; COLUMNS];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &self.rows {
            let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// What somebody wrote, on one line, and no more than letters to a terminal: control characters, and those that turn
/// the direction of writing, show as `\u{1b}`.
pub(super) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\'' => shown.push(character),
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["ID", "WHY"]);
        table.add(["1".to_owned(), "é".to_owned()]);
        table.add(["long".to_owned(), String::new()]);
        assert_eq!(table.to_string(), "ID    WHY\n1     é\nlong\n");
    }

    #[test]
    fn a_terminal_is_not_driven() {
        assert_eq!(plain("it's \"ö\""), "it's \"ö\"");
        assert_eq!(plain("a\u{1b}[2Jb\nc\\"), "a\\u{1b}[2Jb\\nc\\\\");
        assert_eq!(plain("\u{202e}txt\u{2066}\u{9b}\u{200b}"), "\\u{202e}txt\\u{2066}\\u{9b}\\u{200b}");
    }

    proptest! {
        #[test]
        fn nothing_but_letters_is_left_and_none_is_lost(text in any::<String>()) {
            let shown = plain(&text);
            prop_assert!(!shown.chars().any(char::is_control));
            let turning = ['\u{2028}', '\u{2029}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}', '\u{feff}'];
            prop_assert!(!shown.contains(turning));
            prop_assert!(shown.chars().count() >= text.chars().count());
        }
    }
}
