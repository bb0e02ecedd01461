use std::num::NonZeroU32;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep_until};

/// So many rows or calls a second, over all workers of a run.
pub(super) struct Pace {
    each: Duration,
    next: Mutex<Instant>,
}

/// Whose turn it is: nobody else has one meanwhile. Dropped, it has cost nothing.
pub(super) struct Turn<'a> {
    each: Duration,
    next: Option<MutexGuard<'a, Instant>>,
}

impl Pace {
    pub(super) fn new(rate: Option<NonZeroU32>) -> Self {
        let each = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate.get());
        Self { each, next: Mutex::new(Instant::now()) }
    }

    /// Returns once all that was taken before is paid for by time, in the order in which it is asked. To give up while
    /// it waits costs nothing either.
    pub(super) async fn turn(&self) -> Turn<'_> {
        if self.each.is_zero() {
            return Turn { each: self.each, next: None };
        }
        let next = self.next.lock().await;
        sleep_until(*next).await;
        Turn { each: self.each, next: Some(next) }
    }
}

impl Turn<'_> {
    /// Lets the next one wait until these are paid for. What was not used before is not saved up.
    pub(super) fn take(self, count: u64) {
        if let Some(mut next) = self.next {
            let price = self.each.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
            *next = (*next).max(Instant::now()) + price;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_second_has_so_many_and_no_more() {
        let pace = Pace::new(NonZeroU32::new(100));
        let start = Instant::now();
        for _ in 0..5 {
            pace.turn().await.take(50);
        }
        assert_eq!(start.elapsed().as_secs(), 2, "the first is at once, and four pauses of half a second follow");
        tokio::time::sleep(Duration::from_secs(60)).await;
        let start = Instant::now();
        pace.turn().await.take(100);
        pace.turn().await.take(1);
        assert_eq!(start.elapsed().as_secs(), 1, "a minute of rest is not made up for");
    }

    #[tokio::test(start_paused = true)]
    async fn many_workers_have_the_rate_of_one() {
        let (pace, start) = (Arc::new(Pace::new(NonZeroU32::new(10))), Instant::now());
        let mut workers = JoinSet::new();
        for _ in 0..64 {
            let pace = pace.clone();
            workers.spawn(async move {
                let mut taken = Vec::new();
                while start.elapsed() < Duration::from_secs(60) {
                    pace.turn().await.take(10);
                    taken.push(start.elapsed());
                }
                taken
            });
        }
        let mut taken = workers.join_all().await.concat();
        taken.sort_unstable();
        for (second, at) in (0..60).zip(&taken) {
            assert_eq!(at.as_secs(), second, "ten in each second");
        }
        assert!(taken.len() <= 60 + 64, "each worker has one more turn before it looks at the time");
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_or_takes_nothing_costs_nobody_anything() {
        let (pace, start) = (Pace::new(NonZeroU32::new(1)), Instant::now());
        pace.turn().await.take(1);
        let gives_up = tokio::time::timeout(Duration::from_millis(100), pace.turn()).await;
        assert!(gives_up.is_err() && start.elapsed() == Duration::from_millis(100), "it need not wait for its turn");
        drop(pace.turn().await);
        pace.turn().await.take(0);
        pace.turn().await.take(1);
        assert_eq!(start.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_nobody_waits() {
        let pace = Pace::new(None);
        let start = Instant::now();
        let both = (pace.turn().await, pace.turn().await);
        both.0.take(u64::MAX);
        both.1.take(u64::MAX);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
