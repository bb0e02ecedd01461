use std::collections::HashMap;

use time::{Date, Duration, OffsetDateTime};
use uuid::Uuid;

use super::counts::{Counts, Tally};
use super::rotations::Rotated;
use super::signed::Signed;
use super::timeline::Event;
use super::{Account, Scope, TOLD};
use crate::audit::report::Report;
use crate::domain::Field;
use crate::domain::audit::{Action, Decision, Details, Entry, UnixMicros};

/// The account while it is read.
#[derive(Default)]
pub(super) struct Story {
    since: Option<UnixMicros>,
    total: Counts,
    by_actor: Tally<String>,
    by_case: Tally<Option<String>>,
    by_day: Tally<Date>,
    rotations: Vec<Rotated>,
    timeline: Vec<Event>,
    untold: u64,
    reads: HashMap<Uuid, Read>,
}

/// A receipt, which pages may follow.
#[derive(Clone, Copy)]
struct Read {
    fields: u64,
    /// Its place in the timeline, where it has one.
    place: Option<usize>,
}

impl Story {
    /// Entries before `since` are heard for what follows from them, and not told.
    pub(super) fn since(since: Option<UnixMicros>) -> Self {
        Self { since, ..Self::default() }
    }

    pub(super) fn entry(&mut self, entry: Entry) {
        // What its details are worth, the verification says.
        let details = Details::of(&entry).unwrap_or(Details::Unread);
        let is_told = self.since.is_none_or(|since| entry.at >= since);
        let (subject, cut_off) = (entry.subject, entry.refusal.clone());
        match (&entry.action, &details) {
            (Action::UnmaskPage | Action::LookupTokens | Action::RedrivePage, _) => {
                if is_told {
                    self.page(entry, &details);
                }
                return;
            }
            (Action::Unmask, Details::Unmask(unmask)) if cut_off.is_none() => {
                self.receipt(subject, unmask.fields.len());
            }
            (Action::Lookup, _) if cut_off.is_none() => self.receipt(subject, 0),
            (Action::KeyRotation, Details::Rotation(rotation)) if is_told && cut_off.is_none() => {
                Rotated::note(&mut self.rotations, &entry, rotation);
            }
            _ => {}
        }
        if is_told {
            let counts = Counts::of(&entry.action, entry.decision);
            self.count(counts, &entry);
            let place = self.tell(Event::of(entry, &details));
            if let Some(read) = subject.and_then(|subject| self.reads.get_mut(&subject)) {
                read.place = read.place.or(place);
            }
        }
    }

    /// Puts what was set by policy under what is told: the last before its begin, and those until its end.
    pub(super) fn lay_under(&mut self, policies: Self) {
        let (Some(first), Some(last)) =
            (self.timeline.first().map(|event| event.seq), self.timeline.last().map(|event| event.seq))
        else {
            return;
        };
        let held = policies.timeline.iter().rfind(|event| event.seq < first).map(|event| event.seq);
        for event in policies.timeline {
            let is_during = (first..=last).contains(&event.seq);
            if is_during {
                self.total.policies += 1;
            }
            if is_during || Some(event.seq) == held {
                self.timeline.push(event);
            }
        }
        self.timeline.sort_by_key(|event| event.seq);
    }

    pub(super) fn end(self, scope: Scope, verified: Report, signed: Signed) -> Account {
        Account {
            vault: verified.vault,
            scope,
            verified,
            signed,
            total: self.total,
            by_actor: self.by_actor,
            by_case: self.by_case,
            by_day: self.by_day,
            rotations: self.rotations,
            timeline: self.timeline,
            untold: self.untold,
        }
    }

    fn receipt(&mut self, receipt: Option<Uuid>, fields: usize) {
        if let Some(receipt) = receipt {
            let fields = u64::try_from(fields).unwrap_or(u64::MAX);
            self.reads.insert(receipt, Read { fields, place: None });
        }
    }

    fn page(&mut self, entry: Entry, details: &Details) {
        let read = entry.subject.and_then(|receipt| self.reads.get(&receipt)).copied();
        // One that was allowed long before the span: at most both were asked for.
        let fields = read.map_or(Field::ALL.len().try_into().unwrap_or(u64::MAX), |read| read.fields);
        let mut counts = Counts::default();
        match details {
            Details::Page(page) => {
                counts.rows_opened = page.opened.unwrap_or(0).try_into().unwrap_or(0);
                counts.values_opened = counts.rows_opened.saturating_mul(fields);
                counts.rows_failed = page.failed.len().try_into().unwrap_or(u64::MAX);
            }
            Details::Tokens(told) => counts.tokens = told.tokens.len().try_into().unwrap_or(u64::MAX),
            _ => {}
        }
        if entry.decision == Some(Decision::Refused) {
            counts.refusals = 1;
        }
        self.count(counts, &entry);
        let place = match read.and_then(|read| read.place) {
            Some(place) => Some(place),
            // Of one that is not told here, and of what nothing else says that it ended.
            None if counts != Counts::default() => self.tell(Event::of(entry.clone(), details)),
            None => None,
        };
        if let Some(event) = place.and_then(|place| self.timeline.get_mut(place)) {
            let outcome = &mut event.outcome;
            outcome.rows_opened = outcome.rows_opened.saturating_add(counts.rows_opened);
            outcome.values_opened = outcome.values_opened.saturating_add(counts.values_opened);
            outcome.rows_failed = outcome.rows_failed.saturating_add(counts.rows_failed);
            outcome.tokens = outcome.tokens.saturating_add(counts.tokens);
            outcome.cut_off = entry.refusal.or(outcome.cut_off.take());
        }
    }

    fn count(&mut self, counts: Counts, entry: &Entry) {
        self.total += counts;
        *self.by_actor.entry(entry.origin.actor.clone()).or_default() += counts;
        *self.by_case.entry(entry.case_id.clone()).or_default() += counts;
        *self.by_day.entry(day(entry.at)).or_default() += counts;
    }

    fn tell(&mut self, event: Event) -> Option<usize> {
        let place = self.timeline.len();
        if place >= TOLD {
            self.untold += 1;
            return None;
        }
        self.timeline.push(event);
        Some(place)
    }
}

/// A time beyond the calendar is of its last day.
fn day(at: UnixMicros) -> Date {
    OffsetDateTime::UNIX_EPOCH.checked_add(Duration::microseconds(at.0)).map_or(Date::MAX, OffsetDateTime::date)
}
