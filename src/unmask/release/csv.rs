//! By `csv_core` and not `csv`, whose buffer is not wiped.

use csv_core::Writer;
use secrecy::ExposeSecret as _;

use super::COLUMNS;
use crate::domain::Field;
use crate::unmask::open::OpenedRow;

/// A record for each row, after a header.
pub(super) fn write(out: &mut Vec<u8>, fields: &[Field], rows: &[OpenedRow], header: bool) {
    if header {
        record(out, COLUMNS.into_iter().chain(fields.iter().map(|field| field.name())));
    }
    for row in rows {
        let (create_date, event) = (row.create_date.to_string(), row.event.to_string());
        let columns = [create_date.as_str(), &event, &row.user_id];
        record(out, columns.into_iter().chain(row.values.iter().map(|value| value.expose_secret())));
    }
}

fn record<'a>(out: &mut Vec<u8>, fields: impl Iterator<Item = &'a str>) {
    let mut writer = Writer::new();
    for (index, field) in fields.enumerate() {
        if index > 0 {
            room(out, 2, |room| writer.delimiter(room).1);
        }
        // Two quotes around it, and each of its bytes may be one, which is doubled.
        room(out, 2 + 2 * field.len(), |room| writer.field(field.as_bytes(), room).2);
    }
    room(out, 3, |room| writer.terminator(room).1);
}

/// Lets `write` write at the end of `out`, in as much room as it can need, and keeps what it says that it wrote.
fn room(out: &mut Vec<u8>, most: usize, write: impl FnOnce(&mut [u8]) -> usize) {
    let end = out.len();
    out.resize(end + most, 0);
    let written = write(out.split_at_mut(end).1);
    out.truncate(end + written);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_parses_back(records: Vec<(String, String, String)>) {
            let mut out = Vec::new();
            for (one, two, three) in &records {
                record(&mut out, [one, two, three].into_iter().map(String::as_str));
            }
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(out.as_slice());
            let read: Vec<(String, String, String)> = reader.deserialize().map(Result::unwrap).collect();
            prop_assert_eq!(read, records);
        }
    }

    #[test]
    fn quotes_separators_and_line_ends_stay_in_their_field() {
        let mut out = Vec::new();
        record(&mut out, ["a\"b", "c,d", "e\r\nf", "=1+1", ""].into_iter());
        assert_eq!(out, b"\"a\"\"b\",\"c,d\",\"e\r\nf\",=1+1,\n");
    }
}
