use std::fmt::Display;
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable as _};
use tokio::sync::watch;
use tracing::warn;

/// The outages of SQS, KMS and PostgreSQL that tasks are waiting out, for all to see: what was received while nothing
/// can be stored would only come again, and count as one more try in the queue.
pub(super) struct Outages {
    patience: Duration,
    ongoing: watch::Sender<usize>,
}

impl Outages {
    /// Waits `patience` for each, from its first fault on.
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, ongoing: watch::Sender::new(0) }
    }

    /// Repeats `call` while its faults are transient, with growing pauses, until patience is over; then returns the
    /// last fault.
    pub(super) async fn wait_out<T, E: Display, F: Future<Output = Result<T, E>>>(
        &self,
        mut is_transient: impl FnMut(&E) -> bool,
        call: impl FnMut() -> F,
    ) -> Result<T, E> {
        let (mut since, mut ongoing) = (None, None);
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(5))
            .without_max_times()
            .with_jitter();
        call.retry(pauses)
            // The calls count as well as the pauses: one that hangs is an outage too.
            .when(|error| is_transient(error) && since.get_or_insert_with(Instant::now).elapsed() < self.patience)
            .notify(|error, pause| {
                ongoing.get_or_insert_with(|| Ongoing::begin(&self.ongoing));
                warn!(%error, pause_ms = pause.as_millis(), "trying again");
            })
            .await
    }

    /// Returns once there is none.
    pub(super) async fn over(&self) {
        // The sender lives as long as `self`: there is no other way for this to end.
        let _ = self.ongoing.subscribe().wait_for(|ongoing| *ongoing == 0).await;
    }
}

struct Ongoing<'a>(&'a watch::Sender<usize>);

impl<'a> Ongoing<'a> {
    fn begin(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|ongoing| *ongoing += 1);
        Self(count)
    }
}

impl Drop for Ongoing<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|ongoing| *ongoing -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn transient_faults_are_waited_out_and_others_are_not() {
        let outages = Outages::new(Duration::from_secs(60));
        let calls = AtomicU32::new(0);
        let third = outages.wait_out(
            |_| true,
            || async { if calls.fetch_add(1, Ordering::SeqCst) < 2 { Err("away") } else { Ok(()) } },
        );
        assert_eq!(third.await, Ok(()));
        assert_eq!(calls.load(Ordering::SeqCst), 3);
        assert_eq!(outages.wait_out(|_| false, || async { Err::<(), _>("refused") }).await, Err("refused"));
    }

    #[tokio::test]
    async fn patience_counts_the_calls_as_well_as_the_pauses() {
        let outages = Outages::new(Duration::from_millis(50));
        let calls = AtomicU32::new(0);
        let hangs = outages.wait_out(
            |_| true,
            || async {
                calls.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(60)).await;
                Err::<(), _>("away")
            },
        );
        assert_eq!(hangs.await, Err("away"));
        assert_eq!(calls.load(Ordering::SeqCst), 2, "the first fault starts the clock, the second is too late");
    }

    #[tokio::test]
    async fn an_outage_is_over_when_its_call_has_ended() {
        let outages = Outages::new(Duration::from_secs(60));
        let calls = AtomicU32::new(0);
        let call = outages.wait_out(
            |_| true,
            || async { if calls.fetch_add(1, Ordering::SeqCst) < 2 { Err("away") } else { Ok(()) } },
        );
        tokio::join!(async { assert_eq!(call.await, Ok(())) }, async {
            while calls.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            outages.over().await;
            assert_eq!(calls.load(Ordering::SeqCst), 3);
        });
    }
}
