//! How long to wait for a service that is away.

use std::fmt::Display;
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable as _};
use tracing::warn;

/// How long to wait for a service that is away, from its first fault on.
#[derive(Clone, Copy, Debug)]
pub struct Patience(pub Duration);

impl Patience {
    /// Repeats `call` while its faults are transient, with growing pauses, until patience is over; then returns the
    /// last fault. `waiting` is called before each pause.
    ///
    /// # Errors
    /// What `call` returned last.
    pub async fn wait_out<T, E: Display, F: Future<Output = Result<T, E>>>(
        self,
        mut is_transient: impl FnMut(&E) -> bool,
        mut waiting: impl FnMut(),
        call: impl FnMut() -> F,
    ) -> Result<T, E> {
        let mut since = None;
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(5))
            .without_max_times()
            .with_jitter();
        call.retry(pauses)
            // The calls count as well as the pauses: one that hangs is an outage too.
            .when(|error| is_transient(error) && since.get_or_insert_with(Instant::now).elapsed() < self.0)
            .notify(|error, pause| {
                waiting();
                warn!(%error, pause_ms = pause.as_millis(), "trying again");
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn transient_faults_are_waited_out_and_others_are_not() {
        let patience = Patience(Duration::from_secs(60));
        let (calls, mut pauses) = (AtomicU32::new(0), 0);
        let third = patience.wait_out(
            |_| true,
            || pauses += 1,
            || async { if calls.fetch_add(1, Ordering::SeqCst) < 2 { Err("away") } else { Ok(()) } },
        );
        assert_eq!(third.await, Ok(()));
        assert_eq!((calls.load(Ordering::SeqCst), pauses), (3, 2));
        assert_eq!(patience.wait_out(|_| false, || (), || async { Err::<(), _>("refused") }).await, Err("refused"));
    }

    #[tokio::test]
    async fn patience_counts_the_calls_as_well_as_the_pauses() {
        let calls = AtomicU32::new(0);
        let hangs = Patience(Duration::from_millis(50)).wait_out(
            |_| true,
            || (),
            || async {
                calls.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(60)).await;
                Err::<(), _>("away")
            },
        );
        assert_eq!(hangs.await, Err("away"));
        assert_eq!(calls.load(Ordering::SeqCst), 2, "the first fault starts the clock, the second is too late");
    }
}
