use std::collections::HashMap;

use uuid::Uuid;

use crate::domain::audit::{Action, Decision, Details, Entry, UnixMicros};

/// What the log has of receipts.
#[derive(Default)]
pub(super) struct Receipts(HashMap<Uuid, Receipt>);

/// What a receipt permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permits {
    /// Unwrapping data keys.
    Reading,
    /// Unwrapping the token key.
    LookingUp,
    /// Nothing: it was refused, or is of a dry run.
    Nothing,
}

pub(super) struct Receipt {
    pub(super) seq: i64,
    pub(super) at: UnixMicros,
    pub(super) permits: Permits,
    /// Rows that were opened, or tokens that were told.
    pub(super) yielded: u64,
    /// Whether the trail has an unwrap for it.
    pub(super) is_unwrapped: bool,
}

impl Receipts {
    pub(super) fn note(&mut self, entry: &Entry) {
        let Some(id) = entry.subject else { return };
        let allowed = entry.decision == Some(Decision::Allowed);
        let permits = match entry.action {
            Action::Unmask if allowed => Permits::Reading,
            Action::Lookup if allowed => Permits::LookingUp,
            Action::Unmask | Action::UnmaskDryRun | Action::Lookup => Permits::Nothing,
            _ => return self.yielded(id, entry),
        };
        let receipt = Receipt { seq: entry.seq, at: entry.at, permits, yielded: 0, is_unwrapped: false };
        self.0.entry(id).or_insert(receipt);
    }

    pub(super) fn get(&mut self, id: Uuid) -> Option<&mut Receipt> {
        self.0.get_mut(&id)
    }

    /// Those that something came of, in the order of the log.
    pub(super) fn in_order(&self) -> Vec<(Uuid, &Receipt)> {
        let mut receipts: Vec<_> =
            self.0.iter().filter(|(_, receipt)| receipt.yielded > 0).map(|(id, receipt)| (*id, receipt)).collect();
        receipts.sort_by_key(|(_, receipt)| receipt.seq);
        receipts
    }

    fn yielded(&mut self, id: Uuid, entry: &Entry) {
        let count = match Details::of(entry) {
            Ok(Details::Page(page)) => page.opened.unwrap_or(0).try_into().unwrap_or(0),
            Ok(Details::Tokens(told)) => told.tokens.len().try_into().unwrap_or(u64::MAX),
            _ => 0,
        };
        if let Some(receipt) = self.0.get_mut(&id) {
            receipt.yielded = receipt.yielded.saturating_add(count);
        }
    }
}
