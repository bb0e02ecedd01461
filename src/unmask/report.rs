use serde::Serialize;
use tracing::error;
use uuid::Uuid;

use super::open::UnopenedRow;
use super::settle::SettledPage;
use crate::db::receipts::{Decision, OpenFailure};

/// Rows that did not open are listed up to this number, and counted beyond it.
const LISTED: usize = 1000;

/// What a run did so far. No plaintext.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The receipt.
    pub receipt: Option<String>,
    /// Its entry of the audit log.
    pub audit_seq: Option<i64>,
    /// The grant that is charged; `None`: what the officer may open alone.
    pub grant: Option<String>,
    /// Rows of its list.
    pub rows: u32,
    /// Values that are charged, whether they open or not.
    pub values: u32,
    /// Rows that are recorded as opened.
    pub opened: u64,
    /// Of these, rows that were written.
    pub released: u64,
    /// Rows that did not open.
    pub did_not_open: u64,
    /// The first thousand that did not open.
    pub failed: Vec<Failed>,
    /// The last row that was written. Rows come in the order of day and event id.
    pub last: Option<Last>,
}

/// A row that did not open.
#[derive(Clone, Debug, Serialize)]
pub struct Failed {
    /// Its place in the receipt's list, from 1.
    pub row: i32,
    /// UTC day, `YYYY-MM-DD`; `None` where the row was deleted since it was recorded.
    pub create_date: Option<String>,
    /// The event; `None` likewise, and the audit log names it.
    pub event_id: Option<String>,
    /// The word of the audit log.
    pub reason: &'static str,
}

/// A row's place in the order of rows.
#[derive(Clone, Debug, Serialize)]
pub struct Last {
    /// UTC day, `YYYY-MM-DD`.
    pub create_date: String,
    /// The event.
    pub event_id: String,
}

/// What was written of a page.
pub(super) struct Released {
    pub(super) rows: usize,
    pub(super) last: Option<Last>,
}

impl Report {
    pub(super) fn recorded(&mut self, receipt: Uuid) {
        self.receipt = Some(receipt.to_string());
    }

    pub(super) fn decided(&mut self, decision: &Decision) {
        self.audit_seq = Some(decision.seq);
        self.grant = decision.grant.map(|grant| grant.to_string());
        self.rows = decision.rows.unsigned_abs();
        self.values = decision.values.unsigned_abs();
    }

    pub(super) fn settled(&mut self, page: &SettledPage) {
        self.opened += count(page.rows().len());
        self.did_not_open += count(page.failed().len());
        for row in page.failed() {
            let failed = Failed::from(row);
            if row.failure != OpenFailure::Deleted {
                error!(row = failed.row, event.id = failed.event_id, reason = failed.reason, "a row did not open");
            }
            if self.failed.len() < LISTED {
                self.failed.push(failed);
            }
        }
    }

    pub(super) fn released(&mut self, released: Released) {
        self.released += count(released.rows);
        self.last = released.last.or(self.last.take());
    }
}

impl From<&UnopenedRow> for Failed {
    fn from(row: &UnopenedRow) -> Self {
        Self {
            row: row.ordinal,
            create_date: row.row.map(|(day, _)| day.to_string()),
            event_id: row.row.map(|(_, event)| event.to_string()),
            reason: row.failure.code(),
        }
    }
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
