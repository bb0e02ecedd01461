use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::authorise::Receipt;
use super::error::{UnmaskError, may_pass};
use crate::crypto::checkpoint::CheckpointKey;
use crate::db::Pool;
use crate::db::receipts;
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
    let wait = || async { receipts::await_checkpoint(&mut *pool.get().await?, receipt.id(), NOTARY).await };
    let coverage = tokio::select! {
        coverage = patience.wait_out(may_pass, || (), wait) => coverage?,
        () = stop.cancelled() => return Ok(Covered::Stopped),
    };
    match (coverage.checkpoint, key) {
        (None, _) if coverage.required => Ok(Covered::No),
        (Some(signed), Some(key)) => match signed.covers(receipt.vault(), receipt.seq(), key) {
            Ok(()) => Ok(Covered::Yes),
            Err(_) => Err(UnmaskError::Checkpoint { seq: signed.checkpoint.seq }),
        },
        (Some(_), None) if coverage.required => {
            warn!(
                "the signature of the checkpoint that covers the receipt is not verified: \
                 PII_VAULT_CHECKPOINT_PUBLIC_KEY is not set"
            );
            Ok(Covered::Yes)
        }
        _ => Ok(Covered::Yes),
    }
}
