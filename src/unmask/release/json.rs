use std::io::{self, Write};

use secrecy::ExposeSecret as _;
use serde::ser::{Serialize, SerializeMap as _};
use serde_json::Serializer;
use serde_json::ser::Formatter;

use super::COLUMNS;
use crate::domain::{Field, drives_terminal};
use crate::unmask::open::OpenedRow;

/// A line for each row.
pub(super) fn write(out: &mut Vec<u8>, fields: &[Field], rows: &[OpenedRow]) -> io::Result<()> {
    for row in rows {
        Line { fields, row }.serialize(&mut Serializer::with_formatter(&mut *out, Escaping))?;
        out.push(b'\n');
    }
    Ok(())
}

struct Line<'a> {
    fields: &'a [Field],
    row: &'a OpenedRow,
}

impl Serialize for Line<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [create_date, event_id, user_id] = COLUMNS;
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry(create_date, &self.row.create_date.to_string())?;
        line.serialize_entry(event_id, &self.row.event.to_string())?;
        line.serialize_entry(user_id, &self.row.user_id)?;
        for (field, value) in self.fields.iter().zip(&self.row.values) {
            line.serialize_entry(field.name(), value.expose_secret())?;
        }
        line.end()
    }
}

/// JSON alone escapes the controls of ASCII; a terminal obeys others too, and some characters turn the line around.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((before, character, after)) = split(rest) {
            writer.write_all(before.as_bytes())?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = after;
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Around the first character that is escaped.
fn split(text: &str) -> Option<(&str, char, &str)> {
    let (index, character) = text.char_indices().find(|(_, character)| drives_terminal(*character))?;
    let (before, rest) = text.split_at(index);
    Some((before, character, rest.split_at(character.len_utf8()).1))
}
