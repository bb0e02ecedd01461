use std::fmt::Display;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use tracing::warn;

/// Repeats `call` while its faults are transient, with growing pauses, until `patience` is over; then returns the
/// last fault.
pub(super) async fn wait_out<T, E: Display, F: Future<Output = Result<T, E>>>(
    patience: Duration,
    is_transient: impl FnMut(&E) -> bool,
    call: impl FnMut() -> F,
) -> Result<T, E> {
    let pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .with_total_delay(Some(patience))
        .without_max_times()
        .with_jitter();
    call.retry(pauses)
        .when(is_transient)
        .notify(|error, pause| warn!(%error, pause_ms = pause.as_millis(), "trying again"))
        .await
}
