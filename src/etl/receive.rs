use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, instrument};

use super::budget::Budget;
use super::error::EtlError;
use super::outage::Outages;
use super::protect::{Protected, Protector};
use super::summary::Counters;
use crate::aws::sqs::BATCH;
use crate::aws::{AwsError, KeyWrapper, Message, Queue};

/// How long a poll that is under way when the run is told to stop may still answer: what it brings would otherwise
/// stay hidden for the visibility timeout.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// Receives, parses and protects: the plaintext of a message lives in this task alone.
pub(super) struct Receiver<Q, W> {
    pub(super) queue: Arc<Q>,
    pub(super) protector: Arc<Protector<W>>,
    pub(super) budget: Arc<Budget>,
    pub(super) counters: Arc<Counters>,
    pub(super) stop: CancellationToken,
    pub(super) wait: Duration,
    pub(super) drain: bool,
    pub(super) outages: Arc<Outages>,
}

impl<Q: Queue, W: KeyWrapper> Receiver<Q, W> {
    /// Runs until it is told to stop, the budget is used up or, to drain, one poll brings nothing.
    #[instrument(name = "receive", skip_all)]
    pub(super) async fn run(self, to_store: mpsc::Sender<Vec<Protected>>) -> Result<(), EtlError> {
        while self.may_receive().await {
            let Some(mut leave) = self.budget.take(BATCH) else { break };
            let Some(messages) = self.receive(leave.messages()).await? else { break };
            leave.use_up(messages.len());
            drop(leave);
            if messages.is_empty() {
                if self.drain {
                    break;
                }
                continue;
            }
            debug!(count = messages.len(), "received");
            self.counters.received(messages.len());
            let (protected, left) = self.protect(&messages).await?;
            self.counters.left(left);
            // Waits while the writers are behind: this is what bounds memory. An error means that they have failed,
            // and they say why.
            if to_store.send(protected).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Waits while anything is out of order. `false` where the run was told to stop.
    async fn may_receive(&self) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = self.outages.over() => true,
        }
    }

    /// `None` where the run was told to stop first.
    async fn receive(&self, max: usize) -> Result<Option<Vec<Message>>, EtlError> {
        let receive = self.outages.wait_out(AwsError::may_pass, || self.queue.receive(max, self.wait));
        let stopped = async {
            self.stop.cancelled().await;
            tokio::time::sleep(LAST_ANSWER).await;
        };
        tokio::select! {
            biased;
            messages = receive => Ok(Some(messages?)),
            () = stopped => Ok(None),
        }
    }

    async fn protect(&self, messages: &[Message]) -> Result<(Vec<Protected>, u64), EtlError> {
        let may_pass = |error: &EtlError| matches!(error, EtlError::Key(key) if key.may_pass());
        self.outages.wait_out(may_pass, || self.protector.protect(messages)).await
    }
}
