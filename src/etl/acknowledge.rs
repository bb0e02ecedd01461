use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;
use tracing::{instrument, warn};

use super::error::EtlError;
use super::outage::wait_out;
use super::store::Committed;
use super::summary::Counters;
use crate::aws::sqs::BATCH;
use crate::aws::{AwsError, Queue, ReceiptHandle};

/// Deletions under way at once.
const CONCURRENCY: usize = 16;

/// How often entries that come back as failed are tried again.
const TRIES: u32 = 4;

/// Deletes what is committed, in tens, until the writers have ended.
///
/// What cannot be deleted is only counted: it comes again, meets its first copy and adds nothing.
#[instrument(name = "acknowledge", skip_all)]
pub(super) async fn run<Q: Queue>(
    queue: Arc<Q>,
    committed: mpsc::Receiver<Committed>,
    counters: Arc<Counters>,
    patience: Duration,
) -> Result<(), EtlError> {
    stream::unfold(committed, async |mut committed| Some((committed.recv().await?, committed)))
        .flat_map(|committed| stream::iter(tens(committed.into_receipts())))
        .for_each_concurrent(CONCURRENCY, |receipts| {
            let (queue, counters) = (queue.clone(), counters.clone());
            async move {
                let count = receipts.len();
                let undeleted = delete(&*queue, receipts, patience).await;
                counters.deleted(count - undeleted, undeleted);
            }
        })
        .await;
    Ok(())
}

/// How many of them could not be deleted.
async fn delete<Q: Queue>(queue: &Q, mut receipts: Vec<ReceiptHandle>, patience: Duration) -> usize {
    let mut undeleted = 0;
    for attempt in 0..TRIES {
        let result = wait_out(patience, AwsError::is_transient, || queue.delete(receipts.clone())).await;
        let deletion = match result {
            Ok(deletion) => deletion,
            Err(error) => {
                warn!(%error, messages = receipts.len(), "stored, but not deleted: they come again and add nothing");
                return undeleted + receipts.len();
            }
        };
        undeleted += deletion.refused.len();
        receipts = deletion.failed;
        if receipts.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100) * 2_u32.pow(attempt)).await;
    }
    undeleted += receipts.len();
    if undeleted > 0 {
        warn!(messages = undeleted, "stored, but not deleted: they come again and add nothing");
    }
    undeleted
}

fn tens(receipts: Vec<ReceiptHandle>) -> Vec<Vec<ReceiptHandle>> {
    receipts.chunks(BATCH).map(<[_]>::to_vec).collect()
}
