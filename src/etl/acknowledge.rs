use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{instrument, warn};

use super::error::EtlError;
use super::in_flight::Delivery;
use super::outage::Outages;
use super::store::{Committed, Settled};
use super::summary::Counters;
use crate::aws::queue::BATCH;
use crate::aws::{AwsError, Queue, ReceiptHandle};

/// Deletions under way at once.
const CONCURRENCY: usize = 16;

/// How often entries that come back as failed are tried.
const TRIES: u32 = 4;

/// How long deletions may take once the run was told to stop: what is stored is safe without them.
const LAST_DELETIONS: Duration = Duration::from_secs(5);

/// Deletes what is committed, in tens; lets what was given up come again at once.
pub(super) struct Acknowledger<Q> {
    pub(super) queue: Arc<Q>,
    pub(super) counters: Arc<Counters>,
    pub(super) outages: Arc<Outages>,
    pub(super) stop: CancellationToken,
    /// When deletions end that are still under way after the run was told to stop: the same moment for all.
    pub(super) deadline: OnceLock<Instant>,
}

impl<Q: Queue> Acknowledger<Q> {
    /// Runs until the writers have ended. Single messages that cannot be deleted are only counted: they come again,
    /// meet their first copy and add nothing. A queue that refuses deletions ends the run, or it would never end.
    #[instrument(name = "acknowledge", skip_all)]
    pub(super) async fn run(self, settled: mpsc::Receiver<Settled<Delivery>>) -> Result<(), EtlError> {
        stream::unfold(settled, async |mut settled| Some((settled.recv().await?, settled)))
            .flat_map(|settled| stream::iter(settled.split(BATCH)))
            .map(Ok)
            .try_for_each_concurrent(CONCURRENCY, |ten| self.settle(ten))
            .await?;
        Ok(())
    }

    async fn settle(&self, ten: Settled<Delivery>) -> Result<(), AwsError> {
        match ten {
            Settled::Committed(committed) => self.acknowledge(committed).await,
            Settled::GivenUp(deliveries) => {
                self.release(deliveries).await;
                Ok(())
            }
        }
    }

    async fn release(&self, deliveries: Vec<Delivery>) {
        let receipts = deliveries.iter().filter_map(Delivery::to_release).collect();
        // Or they would be hidden anew.
        drop(deliveries);
        tokio::select! {
            biased;
            hidden = self.queue.hide(receipts, Duration::ZERO) => {
                if let Err(error) = hidden {
                    warn!(%error, "they come again only after the visibility timeout");
                }
            }
            () = self.too_late() => {}
        }
    }

    async fn acknowledge(&self, committed: Committed<Delivery>) -> Result<(), AwsError> {
        // Held until they are deleted, so that they stay hidden.
        let deliveries = committed.into_receipts();
        let receipts: Vec<_> = deliveries.iter().filter_map(Delivery::to_delete).collect();
        let count = deliveries.len();
        if receipts.is_empty() {
            self.counters.deleted(count, 0);
            return Ok(());
        }
        let undeleted = tokio::select! {
            biased;
            undeleted = self.delete(receipts) => undeleted,
            () = self.too_late() => Ok(count),
        };
        let left = *undeleted.as_ref().unwrap_or(&count);
        if left > 0 {
            warn!(messages = left, "stored, but not deleted: they come again and add nothing");
        }
        self.counters.deleted(count - left, left);
        undeleted.map(drop)
    }

    async fn too_late(&self) {
        self.stop.cancelled().await;
        sleep_until(*self.deadline.get_or_init(|| Instant::now() + LAST_DELETIONS)).await;
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
