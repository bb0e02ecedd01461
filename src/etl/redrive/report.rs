use std::collections::BTreeMap;

use serde::Serialize;
use time::Date;
use tracing::error;

use crate::crypto::OpenError;
use crate::domain::{EventId, Reason};
use crate::keyring::Unopenable;

/// Letters that do not open are listed up to this number, and counted beyond it.
const LISTED: usize = 1000;

/// What a run did so far.
///
/// `selected = stored + already_stored + still dead + did_not_open + not_tried`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The recorded jobs, in order.
    pub jobs: Vec<String>,
    /// Their rows of the audit log.
    pub audit_seqs: Vec<i64>,
    /// Dead letters of their lists, as far as the run got.
    pub selected: u64,
    /// Became rows, and were marked.
    pub stored: u64,
    /// Were marked; their row was there already, from a redelivery or another redrive.
    pub already_stored: u64,
    /// Opened and refused again, by today's reason.
    pub still_dead: BTreeMap<&'static str, u64>,
    /// Did not open.
    pub did_not_open: u64,
    /// The first thousand that did not open.
    pub unopened: Vec<Unopened>,
    /// Redriven or deleted by another after they were recorded.
    pub not_tried: u64,
}

/// A dead letter that did not open: it stays as it is.
#[derive(Clone, Debug, Serialize)]
pub struct Unopened {
    /// The message.
    pub message_id: String,
    /// UTC day of the message, `YYYY-MM-DD`.
    pub create_date: String,
    /// Why.
    pub why: String,
}

/// Why a dead letter did not open.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum Why {
    #[error("the key that it names is not stored, or retired")]
    NoKey,
    #[error(transparent)]
    Key(#[from] Unopenable),
    #[error(transparent)]
    Body(#[from] OpenError),
}

impl Report {
    /// `rows` of a job's list are behind the run, of which `tried` were handed out.
    pub(super) fn passed_over(&mut self, rows: i32, tried: usize) {
        let rows = u64::try_from(rows).unwrap_or_default();
        self.selected += rows;
        self.not_tried += rows.saturating_sub(u64::try_from(tried).unwrap_or(u64::MAX));
    }

    pub(super) fn refused(&mut self, reason: Reason) {
        *self.still_dead.entry(reason.code()).or_default() += 1;
    }

    pub(super) fn unopened(&mut self, create_date: Date, message: EventId, why: Why) {
        error!(message.id = %message, %why, "a dead letter did not open");
        self.did_not_open += 1;
        if self.unopened.len() < LISTED {
            let (message_id, create_date) = (message.to_string(), create_date.to_string());
            self.unopened.push(Unopened { message_id, create_date, why: why.to_string() });
        }
    }
}
