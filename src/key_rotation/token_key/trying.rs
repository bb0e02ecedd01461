use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

/// Tries, with growing pauses, until patience is over. No two that are in each other's way keep step.
pub(super) struct Trying {
    until: Instant,
    pauses: ExponentialBackoff,
}

impl Trying {
    pub(super) fn new(patience: Duration) -> Self {
        let now = Instant::now();
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(5))
            .without_max_times()
            .with_jitter()
            .build();
        Self { until: now.checked_add(patience).unwrap_or(now + year), pauses }
    }

    /// Pauses; `false`: it is time to give up.
    pub(super) async fn again(&mut self) -> bool {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        tokio::time::sleep(self.pauses.next().unwrap_or(left).min(left)).await;
        true
    }

    /// What is left of patience.
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_is_one_last_try_at_the_end_of_patience() {
        let (mut trying, start, mut tries) = (Trying::new(Duration::from_millis(300)), Instant::now(), 1);
        while trying.again().await {
            tries += 1;
        }
        assert!((2..=3).contains(&tries), "{tries}: at once, after 200 ms or up to twice that, after 300 ms");
        assert!(start.elapsed() >= Duration::from_millis(300));
        assert!(!Trying::new(Duration::ZERO).again().await);
    }
}
