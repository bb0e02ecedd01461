use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::authorise::Receipt;
use super::error::{UnmaskError, may_pass};
use crate::crypto::checkpoint::CheckpointKey;
use crate::db::Pool;
use crate::db::coverage::{self, Record};
use crate::patience::Patience;

/// How long the notary may take: milliseconds, where it is well.
const NOTARY: Duration = Duration::from_secs(10);

/// Whether a checkpoint covers the receipt.
pub(super) enum Covered {
    /// One does, and verifies where there is a key for that; or policy does not ask for one.
    Yes,
    No,
    Stopped,
}

/// Waits for the checkpoint, before anything is fetched or unwrapped.
pub(super) async fn cover(
    pool: &Pool,
    patience: Patience,
    stop: &CancellationToken,
    receipt: &Receipt,
    key: Option<&CheckpointKey>,
) -> Result<Covered, UnmaskError> {
    let record = Record::Receipt(receipt.id());
    let wait = || async { coverage::await_checkpoint(&mut *pool.get().await?, record, NOTARY).await };
    let coverage = tokio::select! {
        coverage = patience.wait_out(may_pass, || (), wait) => coverage?,
        () = stop.cancelled() => return Ok(Covered::Stopped),
    };
    let holds = coverage.holds(receipt.vault(), receipt.seq(), key)?;
    Ok(if holds { Covered::Yes } else { Covered::No })
}
