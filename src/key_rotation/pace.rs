use std::num::NonZeroU32;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// So many rows or calls a second, over all workers of a run.
pub(super) struct Pace {
    each: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(rate: Option<NonZeroU32>) -> Self {
        let each = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate.get());
        Self { each, next: Mutex::new(Instant::now()) }
    }

    /// Returns when the next `count` are due. What was not used before is not saved up.
    pub(super) async fn wait(&self, count: u64) {
        let due = {
            let mut next = self.next.lock().await;
            let due = (*next).max(Instant::now());
            *next = due + self.each.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
            due
        };
        sleep_until(due).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_second_has_so_many_and_no_more() {
        let pace = Pace::new(NonZeroU32::new(100));
        let start = Instant::now();
        for _ in 0..5 {
            pace.wait(50).await;
        }
        assert_eq!(start.elapsed().as_secs(), 2, "the first is at once, and four pauses of half a second follow");
        tokio::time::sleep(Duration::from_secs(60)).await;
        let start = Instant::now();
        pace.wait(100).await;
        pace.wait(1).await;
        assert_eq!(start.elapsed().as_secs(), 1, "a minute of rest is not made up for");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_nobody_waits() {
        let pace = Pace::new(None);
        let start = Instant::now();
        pace.wait(u64::MAX).await;
        pace.wait(u64::MAX).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
