use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

use super::runner::Hands;
use crate::db::{DbError, rotation};

/// A runner counts for a minute after it was last seen.
const OFTEN: Duration = Duration::from_secs(10);

/// Lets the job see its runner until what this returns is dropped: for as long as the run waits for KMS, for its turn,
/// or for the scan that ends a pass.
pub(super) fn keep_seen(hands: Hands) -> DropGuard {
    let gone = CancellationToken::new();
    let guard = gone.clone().drop_guard();
    tokio::spawn(async move {
        while gone.run_until_cancelled(sleep(OFTEN)).await.is_some() {
            let Hands { job, runner, pool, .. } = &hands;
            // Ended by nobody: a statement that is dropped half way costs its connection.
            let seen: Result<(), DbError> = async { rotation::see(&mut *pool.get().await?, *job, *runner).await }.await;
            if let Err(error) = seen {
                debug!(%error, "the job does not see this runner");
            }
        }
    });
    guard
}
