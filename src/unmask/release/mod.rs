//! The one writer of plaintext. It takes a page whose outcome is committed, and nothing else.

mod csv;
mod json;
mod table;

use std::fmt;
use std::io::{self, Write};

use zeroize::{Zeroize as _, Zeroizing};

use super::UnmaskError;
use super::open::OpenedRow;
use super::report::{Last, Released};
use super::settle::SettledPage;
use crate::domain::Field;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Columns for people, aligned page by page, with everything escaped that a terminal would obey.
    Table,
    /// A JSON object a line.
    Json,
    /// RFC 4180 with `\n`, a header first.
    Csv,
}

/// More than a row takes in any format: a user id is 128 characters at most, an ip 45 bytes, a device id 256.
const ROW: usize = 4096;

/// Where plaintext goes.
pub struct Release {
    out: Box<dyn Write + Send>,
    writing: Writing,
    fields: Vec<Field>,
    // A page at a time: not grown, which would leave copies behind, and wiped after each.
    page: Zeroizing<Vec<u8>>,
    begun: bool,
}

enum Writing {
    Table(table::Table),
    Json,
    Csv,
}

impl Release {
    /// Writes to `out`, a page in one piece.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>, format: Format, fields: &[Field]) -> Self {
        let fields: Vec<_> = Field::ALL.into_iter().filter(|field| fields.contains(field)).collect();
        let writing = match format {
            Format::Table => Writing::Table(table::Table::new(&fields)),
            Format::Json => Writing::Json,
            Format::Csv => Writing::Csv,
        };
        Self { out, writing, fields, page: Zeroizing::default(), begun: false }
    }

    /// Writes a page.
    pub(super) fn page(&mut self, page: SettledPage) -> Result<Released, UnmaskError> {
        let last = page
            .rows()
            .last()
            .map(|row| Last { create_date: row.create_date.to_string(), event_id: row.event.to_string() });
        self.rows(page.rows()).map_err(UnmaskError::Write)?;
        Ok(Released { rows: page.rows().len(), last })
    }

    /// Writes the header of what has no rows.
    pub(super) fn finish(&mut self) -> Result<(), UnmaskError> {
        if self.begun { Ok(()) } else { self.rows(&[]).map_err(UnmaskError::Write) }
    }

    fn rows(&mut self, rows: &[OpenedRow]) -> io::Result<()> {
        self.page.reserve((rows.len() + 1) * ROW);
        match &mut self.writing {
            Writing::Table(table) => table.write(&mut self.page, rows, !self.begun),
            Writing::Json => json::write(&mut self.page, &self.fields, rows)?,
            Writing::Csv => csv::write(&mut self.page, &self.fields, rows, !self.begun),
        }
        self.begun = true;
        let written = self.out.write_all(&self.page).and_then(|()| self.out.flush());
        self.page.zeroize();
        written
    }
}

impl fmt::Debug for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Release([redacted])")
    }
}

/// The columns before the fields.
const COLUMNS: [&str; 3] = ["create_date", "event_id", "user_id"];
