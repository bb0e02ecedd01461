use std::fmt::Display;
use std::time::Duration;

use tokio::sync::watch;

use crate::patience::Patience;

/// The outages of SQS, KMS and PostgreSQL that tasks are waiting out, for all to see: what was received while nothing
/// can be stored would only come again, and count as one more try in the queue.
pub(super) struct Outages {
    patience: Patience,
    ongoing: watch::Sender<usize>,
}

impl Outages {
    /// Waits `patience` for each, from its first fault on.
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience: Patience(patience), ongoing: watch::Sender::new(0) }
    }

    /// Repeats `call` while its faults are transient, with growing pauses, until patience is over; then returns the
    /// last fault.
    pub(super) async fn wait_out<T, E: Display, F: Future<Output = Result<T, E>>>(
        &self,
        is_transient: impl FnMut(&E) -> bool,
        call: impl FnMut() -> F,
    ) -> Result<T, E> {
        let mut ongoing = None;
        let waiting = || {
            ongoing.get_or_insert_with(|| Ongoing::begin(&self.ongoing));
        };
        self.patience.wait_out(is_transient, waiting, call).await
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
