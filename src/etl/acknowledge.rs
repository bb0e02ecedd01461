use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{instrument, warn};

use super::error::EtlError;
use super::outage::Outages;
use super::store::Committed;
use super::summary::Counters;
use crate::aws::sqs::BATCH;
use crate::aws::{AwsError, Queue, ReceiptHandle};

/// Deletions under way at once.
const CONCURRENCY: usize = 16;

/// How often entries that come back as failed are tried.
const TRIES: u32 = 4;

/// How long deletions may take once the run was told to stop: what is stored is safe without them.
const LAST_DELETIONS: Duration = Duration::from_secs(5);

/// Deletes what is committed, in tens.
pub(super) struct Acknowledger<Q> {
    pub(super) queue: Arc<Q>,
    pub(super) counters: Arc<Counters>,
    pub(super) outages: Arc<Outages>,
    pub(super) stop: CancellationToken,
}

impl<Q: Queue> Acknowledger<Q> {
    /// Runs until the writers have ended. Single messages that cannot be deleted are only counted: they come again,
    /// meet their first copy and add nothing. A queue that refuses deletions ends the run, or it would never end.
    #[instrument(name = "acknowledge", skip_all)]
    pub(super) async fn run(self, committed: mpsc::Receiver<Committed>) -> Result<(), EtlError> {
        stream::unfold(committed, async |mut committed| Some((committed.recv().await?, committed)))
            .flat_map(|committed| stream::iter(tens(committed.into_receipts())))
            .map(Ok)
            .try_for_each_concurrent(CONCURRENCY, |receipts| self.acknowledge(receipts))
            .await?;
        Ok(())
    }

    async fn acknowledge(&self, receipts: Vec<ReceiptHandle>) -> Result<(), AwsError> {
        let count = receipts.len();
        let too_late = async {
            self.stop.cancelled().await;
            tokio::time::sleep(LAST_DELETIONS).await;
        };
        let undeleted = tokio::select! {
            biased;
            undeleted = self.delete(receipts) => undeleted,
            () = too_late => Ok(count),
        };
        let left = *undeleted.as_ref().unwrap_or(&count);
        if left > 0 {
            warn!(messages = left, "stored, but not deleted: they come again and add nothing");
        }
        self.counters.deleted(count - left, left);
        undeleted.map(drop)
    }

    /// How many of them could not be deleted.
    async fn delete(&self, mut receipts: Vec<ReceiptHandle>) -> Result<usize, AwsError> {
        let mut refused = 0;
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(Duration::from_millis(100) * 2_u32.pow(attempt)).await;
            }
            let deletion = self.outages.wait_out(AwsError::may_pass, || self.queue.delete(receipts.clone())).await?;
            refused += deletion.refused.len();
            receipts = deletion.failed;
            if receipts.is_empty() {
                break;
            }
        }
        Ok(refused + receipts.len())
    }
}

fn tens(receipts: Vec<ReceiptHandle>) -> Vec<Vec<ReceiptHandle>> {
    receipts.chunks(BATCH).map(<[_]>::to_vec).collect()
}
