use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use crate::audit::finding::Broken;
use crate::domain::audit::{Entry, Page, Redrive, RedrivePage, Tokens, UnixMicros};

/// Receipts that were allowed, until all of their rows have an outcome.
#[derive(Default)]
pub(super) struct Receipts(HashMap<Uuid, Open>);

struct Open {
    actor: Box<str>,
    kind: Kind,
}

enum Kind {
    Unmask { rows: i64, settled: i64 },
    Lookup { values: i64 },
    Redrive { rows: i64, settled: i64 },
}

impl Receipts {
    pub(super) fn unmask(&mut self, entry: &Entry, rows: i64) {
        if rows > 0 {
            self.open(entry, Kind::Unmask { rows, settled: 0 });
        }
    }

    pub(super) fn lookup(&mut self, entry: &Entry, values: i64) {
        self.open(entry, Kind::Lookup { values });
    }

    /// A service needs no policy: what it opens is a list of a bounded length, of which each row is settled once.
    pub(super) fn redrive(&mut self, entry: &Entry, redrive: &Redrive) -> Result<(), Broken> {
        self.open(entry, Kind::Redrive { rows: redrive.rows, settled: 0 });
        match (1..=5000).contains(&redrive.rows) {
            true => Ok(()),
            false => Err(Broken::new("redrive", "it was allowed more dead letters than a job has, or none")),
        }
    }

    /// An older state of the database was restored: none of them hands out anything any more.
    pub(super) fn close(&mut self) {
        self.0.clear();
    }

    fn open(&mut self, entry: &Entry, kind: Kind) {
        if let Some(id) = entry.subject {
            self.0.insert(id, Open { actor: entry.origin.actor.as_str().into(), kind });
        }
    }

    pub(super) fn page(&mut self, entry: &Entry, page: &Page) -> Result<(), Broken> {
        let broken = |what: &str| Err(Broken::new("page", what));
        let receipt =
            entry.subject.and_then(|id| self.0.get_mut(&id).filter(|open| *open.actor == *entry.origin.actor));
        let Some(Open { kind: Kind::Unmask { rows, settled }, .. }) = receipt else {
            return broken("no receipt of this login that was allowed before it has rows left");
        };
        let (last, opened) = (page.last.unwrap_or(0), page.opened.unwrap_or(-1));
        if page.first != *settled + 1 || last < page.first {
            return broken("it does not go on where the page before it ended");
        }
        if last > *rows {
            return broken("it goes beyond the rows of its receipt");
        }
        let failed = i64::try_from(page.failed.len()).unwrap_or(i64::MAX);
        if opened < 0 || opened.saturating_add(failed) != last - page.first + 1 {
            return broken("its rows do not add up");
        }
        *settled = last;
        if last == *rows
            && let Some(id) = entry.subject
        {
            self.0.remove(&id);
        }
        Ok(())
    }

    pub(super) fn redrive_page(&mut self, entry: &Entry, page: &RedrivePage) -> Result<(), Broken> {
        let broken = |what: &str| Err(Broken::new("redrive_page", what));
        let job = entry.subject.and_then(|id| self.0.get_mut(&id).filter(|open| *open.actor == *entry.origin.actor));
        let Some(Open { kind: Kind::Redrive { rows, settled }, .. }) = job else {
            return broken("no job of this login that was allowed before it has dead letters left");
        };
        let counts = [page.stored, page.refused, page.did_not_open];
        let count = counts.into_iter().fold(0_i64, i64::saturating_add);
        let unopened = i64::try_from(page.unopened.len()).unwrap_or(i64::MAX);
        let within = page.unopened.iter().all(|ordinal| (page.first..=page.last).contains(ordinal));
        if counts.iter().any(|count| *count < 0) || count < 1 || unopened != page.did_not_open || !within {
            return broken("its dead letters do not add up");
        }
        if page.first < 1 || page.last > *rows || count > page.last.saturating_sub(page.first).saturating_add(1) {
            return broken("it goes beyond the dead letters of its job");
        }
        *settled = settled.saturating_add(count);
        if *settled > *rows {
            return broken("more dead letters were settled than its job has");
        }
        if *settled == *rows
            && let Some(id) = entry.subject
        {
            self.0.remove(&id);
        }
        Ok(())
    }

    pub(super) fn tokens(&mut self, entry: &Entry, tokens: &Tokens) -> Result<(), Broken> {
        let broken = |what: &str| Err(Broken::new("tokens", what));
        let open = entry.subject.and_then(|id| self.0.remove(&id)).filter(|open| *open.actor == *entry.origin.actor);
        let Some(Open { kind: Kind::Lookup { values }, .. }) = open else {
            return broken("no look-up of this login that was allowed before it waits for tokens");
        };
        if i64::try_from(tokens.tokens.len()) != Ok(values) || tokens.tokens.iter().any(|token| token.len() != 43) {
            return broken("they are not as many tokens as the look-up has values");
        }
        Ok(())
    }
}

/// What each officer opened without a grant, in the last 24 hours.
#[derive(Default)]
pub(super) struct Alone(HashMap<String, Window>);

/// In the order of time, which is that of the log but where a clock was set back.
#[derive(Default)]
struct Window {
    opened: VecDeque<(UnixMicros, i64)>,
    sum: i64,
}

impl Alone {
    /// Of the 24 hours before an entry. As in the database, what a clock that was set back left ahead counts too.
    pub(super) fn used(&mut self, entry: &Entry) -> i64 {
        let Some(window) = self.0.get_mut(&entry.origin.actor) else { return 0 };
        let since = entry.at.plus_seconds(-24 * 60 * 60);
        while let Some((_, values)) = window.opened.pop_front_if(|(at, _)| *at <= since) {
            window.sum = window.sum.saturating_sub(values);
        }
        window.sum
    }

    pub(super) fn charge(&mut self, entry: &Entry, values: i64) {
        if values > 0 {
            let window = self.0.entry(entry.origin.actor.clone()).or_default();
            let place = window.opened.partition_point(|(at, _)| *at <= entry.at);
            window.opened.insert(place, (entry.at, values));
            window.sum = window.sum.saturating_add(values);
        }
    }
}
