use secrecy::ExposeSecret as _;
use unicode_width::UnicodeWidthChar as _;

use super::COLUMNS;
use crate::domain::Field;
use crate::unmask::open::OpenedRow;

const GAP: usize = 2;

/// Columns as wide as the widest that was written so far.
pub(super) struct Table {
    columns: Vec<(&'static str, usize)>,
}

impl Table {
    pub(super) fn new(fields: &[Field]) -> Self {
        let names = COLUMNS.into_iter().chain(fields.iter().map(|field| field.name()));
        Self { columns: names.map(|name| (name, name.len())).collect() }
    }

    /// A line for each row, after a header.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, rows: &[OpenedRow], header: bool) {
        for row in rows {
            let mut columns = self.columns.iter_mut();
            cells(row, |cell| {
                if let Some((_, width)) = columns.next() {
                    *width = (*width).max(columns_of(cell));
                }
            });
        }
        if header {
            let mut line = Line { out, padding: 0 };
            self.columns.iter().for_each(|(name, width)| line.cell(name, *width));
            line.end();
        }
        for row in rows {
            let mut line = Line { out, padding: 0 };
            let mut columns = self.columns.iter();
            cells(row, |cell| line.cell(cell, columns.next().map_or(0, |(_, width)| *width)));
            line.end();
        }
    }
}

fn cells(row: &OpenedRow, mut each: impl FnMut(&str)) {
    each(&row.create_date.to_string());
    each(&row.event.to_string());
    each(&row.user_id);
    row.values.iter().for_each(|value| each(value.expose_secret()));
}

struct Line<'a> {
    out: &'a mut Vec<u8>,
    padding: usize,
}

impl Line<'_> {
    fn cell(&mut self, text: &str, width: usize) {
        self.out.resize(self.out.len() + self.padding, b' ');
        let mut utf8 = [0; 4];
        escape(text, |character| self.out.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes()));
        self.padding = width.saturating_sub(columns_of(text)) + GAP;
    }

    fn end(self) {
        self.out.push(b'\n');
    }
}

/// How many columns of a terminal a text takes once it is escaped.
fn columns_of(text: &str) -> usize {
    let mut width = 0;
    escape(text, |character| width += character.width().unwrap_or(0));
    width
}

/// Who sent the message chose the text: what drives a terminal, turns its direction or is not seen becomes `\u{…}` and
/// the like, and a backslash two.
fn escape(text: &str, mut each: impl FnMut(char)) {
    for character in text.chars() {
        match character {
            '"' | '\'' => each(character),
            _ => character.escape_debug().for_each(&mut each),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        let mut shown = String::new();
        escape(text, |character| shown.push(character));
        shown
    }

    #[test]
    fn a_terminal_is_not_driven() {
        assert_eq!(shown("\x1b]0;x\x07\r\n\t"), r"\u{1b}]0;x\u{7}\r\n\t");
        assert_eq!(shown("\u{9b}2J\u{202e}\u{2066}\u{200b}\u{2028}"), r"\u{9b}2J\u{202e}\u{2066}\u{200b}\u{2028}");
        assert_eq!(shown(r#"a\u{7} "b" 'ä' 漢"#), r#"a\\u{7} "b" 'ä' 漢"#);
    }

    proptest! {
        #[test]
        fn nothing_that_is_written_is_a_control(text: String) {
            prop_assert!(!shown(&text).chars().any(char::is_control));
        }

        #[test]
        fn no_two_texts_look_alike(one: String, two: String) {
            prop_assert_eq!(one == two, shown(&one) == shown(&two));
        }
    }
}
