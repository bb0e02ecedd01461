use std::io;

use secrecy::ExposeSecret as _;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::COLUMNS;
use crate::domain::Field;
use crate::unmask::open::OpenedRow;

/// A line for each row.
pub(super) fn write(out: &mut Vec<u8>, fields: &[Field], rows: &[OpenedRow]) -> io::Result<()> {
    for row in rows {
        serde_json::to_writer(&mut *out, &Line { fields, row })?;
        out.push(b'\n');
    }
    Ok(())
}

struct Line<'a> {
    fields: &'a [Field],
    row: &'a OpenedRow,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
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
