use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::domain::Reason;

/// What has happened so far; shared by all tasks.
pub struct Counters {
    started: Instant,
    received: AtomicU64,
    stored: AtomicU64,
    already_stored: AtomicU64,
    dead_letters: [AtomicU64; Reason::ALL.len()],
    left: AtomicU64,
    deleted: AtomicU64,
    undeleted: AtomicU64,
}

/// The counters at one moment.
///
/// At the end of a run `received = stored + already_stored + dead letters + left`.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Messages received, redeliveries included.
    pub received: u64,
    /// Events that became rows.
    pub stored: u64,
    /// Events whose row was there already: redeliveries.
    pub already_stored: u64,
    /// Dead letters by reason, redeliveries included.
    pub dead_letters: BTreeMap<&'static str, u64>,
    /// Messages that were received but neither stored nor set aside: they stay in the queue and come again.
    pub left_in_queue: u64,
    /// Messages deleted from the queue.
    pub deleted: u64,
    /// Messages stored or set aside, but not deleted: they come again and add nothing.
    pub undeleted: u64,
    /// Seconds since the start.
    pub seconds: f64,
    /// Messages settled (stored, already stored or set aside) for each second.
    pub rate: f64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            received: AtomicU64::default(),
            stored: AtomicU64::default(),
            already_stored: AtomicU64::default(),
            dead_letters: Default::default(),
            left: AtomicU64::default(),
            deleted: AtomicU64::default(),
            undeleted: AtomicU64::default(),
        }
    }
}

impl Counters {
    /// The counters now.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let dead_letters: BTreeMap<_, _> = Reason::ALL
            .iter()
            .zip(&self.dead_letters)
            .map(|(reason, count)| (reason.code(), read(count)))
            .filter(|(_, count)| *count > 0)
            .collect();
        let (stored, already_stored) = (read(&self.stored), read(&self.already_stored));
        let elapsed = self.started.elapsed();
        let settled = stored + already_stored + dead_letters.values().sum::<u64>();
        Summary {
            received: read(&self.received),
            stored,
            already_stored,
            dead_letters,
            left_in_queue: read(&self.left),
            deleted: read(&self.deleted),
            undeleted: read(&self.undeleted),
            seconds: (elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
            rate: per_second(settled, elapsed),
        }
    }

    pub(super) fn received(&self, messages: usize) {
        add(&self.received, messages);
    }

    pub(super) fn committed(&self, stored: usize, events: usize, letters: impl Iterator<Item = Reason>) {
        add(&self.stored, stored);
        add(&self.already_stored, events.saturating_sub(stored));
        for reason in letters {
            let count = Reason::ALL.iter().zip(&self.dead_letters).find(|(known, _)| **known == reason);
            if let Some((_, count)) = count {
                add(count, 1);
            }
        }
    }

    pub(super) fn left(&self, messages: u64) {
        self.left.fetch_add(messages, Ordering::Relaxed);
    }

    pub(super) fn deleted(&self, deleted: usize, undeleted: usize) {
        add(&self.deleted, deleted);
        add(&self.undeleted, undeleted);
    }
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a rate is shown rounded")]
fn per_second(count: u64, elapsed: Duration) -> f64 {
    let seconds = elapsed.as_secs_f64();
    if seconds > 0.0 { (count as f64 / seconds * 10.0).round() / 10.0 } else { 0.0 }
}
