use std::time::{Duration, Instant};

/// Tries, with growing pauses, until patience is over.
pub(super) struct Trying {
    until: Instant,
    pause: Duration,
}

impl Trying {
    pub(super) fn new(patience: Duration) -> Self {
        let now = Instant::now();
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        Self { until: now.checked_add(patience).unwrap_or(now + year), pause: Duration::from_millis(200) }
    }

    /// Pauses; `false`: it is time to give up.
    pub(super) async fn again(&mut self) -> bool {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        tokio::time::sleep(self.pause.min(left)).await;
        self.pause = (self.pause * 2).min(Duration::from_secs(5));
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
        assert_eq!(tries, 3, "at once, after 200 ms, after 300 ms");
        assert!(start.elapsed() >= Duration::from_millis(300));
        assert!(!Trying::new(Duration::ZERO).again().await);
    }
}
