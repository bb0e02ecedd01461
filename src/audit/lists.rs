use std::collections::HashMap;
use std::pin::pin;

use futures_util::TryStreamExt as _;
use uuid::Uuid;

use super::finding::Broken;
use crate::crypto::audit_chain::ListHash;
use crate::db::audit_log::{ListedRow, lists};
use crate::db::{Connection, DbError};
use crate::domain::EventId;
use crate::domain::audit::{Action, Decision, Details, Entry};

/// The lists of rows that a page of the log records.
#[derive(Default)]
pub(super) struct Recorded(HashMap<Uuid, List>);

struct List {
    seq: i64,
    rows: i64,
    sha256: String,
}

impl Recorded {
    /// Notes what an entry records. A dry run has no list that anything is handed out by.
    pub(super) fn note(&mut self, entry: &Entry, details: &Details) {
        let (rows, sha256) = match (&entry.action, details) {
            (Action::Unmask, Details::Unmask(unmask)) => (unmask.rows, &unmask.list_sha256),
            (Action::Redrive, Details::Redrive(redrive)) => (redrive.rows, &redrive.list_sha256),
            _ => return,
        };
        if let (Some(Decision::Allowed), Some(receipt)) = (entry.decision, entry.subject) {
            self.0.insert(receipt, List { seq: entry.seq, rows, sha256: sha256.clone() });
        }
    }

    /// Compares them with what the table has.
    pub(super) async fn check(mut self, conn: &mut Connection) -> Result<Vec<(i64, Broken)>, DbError> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<_> = self.0.keys().copied().collect();
        let mut broken = Vec::new();
        let mut rows = pin!(lists(conn, &ids).await?);
        let mut found: Option<Found> = None;
        while let Some(row) = rows.try_next().await? {
            if found.as_ref().is_some_and(|found| found.receipt != row.receipt) {
                broken.extend(self.judge(found.take()));
            }
            found.get_or_insert_with(|| Found::of(row.receipt)).row(&row);
        }
        broken.extend(self.judge(found));
        // Of these the table has no row.
        let none: Vec<_> = self.0.keys().copied().collect();
        broken.extend(none.into_iter().filter_map(|receipt| self.judge(Some(Found::of(receipt)))));
        broken.sort_by_key(|(seq, _)| *seq);
        Ok(broken)
    }

    fn judge(&mut self, found: Option<Found>) -> Option<(i64, Broken)> {
        let Found { receipt, rows, in_order, hash } = found?;
        let list = self.0.remove(&receipt)?;
        let what = match rows == list.rows {
            true if in_order && hash.hex() == list.sha256 => return None,
            true => "the table lists other rows for it than were recorded".to_owned(),
            false => format!("the table lists {rows} rows for it, and {} were recorded", list.rows),
        };
        Some((list.seq, Broken::new("list", what)))
    }
}

/// The list of a receipt, as far as it was read.
struct Found {
    receipt: Uuid,
    rows: i64,
    in_order: bool,
    hash: ListHash,
}

impl Found {
    fn of(receipt: Uuid) -> Self {
        Self { receipt, rows: 0, in_order: true, hash: ListHash::new() }
    }

    fn row(&mut self, row: &ListedRow) {
        self.rows += 1;
        self.in_order &= i64::from(row.ordinal) == self.rows;
        self.hash.row(row.create_date, EventId(row.event_id));
    }
}
