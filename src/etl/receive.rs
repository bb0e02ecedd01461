use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, instrument};

use super::budget::Budget;
use super::byte_budget::{ByteBudget, Room};
use super::error::EtlError;
use super::in_flight::{Delivery, InFlight};
use super::outage::Outages;
use super::protect::{Incoming, Protected, Protector};
use super::summary::Counters;
use crate::aws::queue::BATCH;
use crate::aws::{AwsError, KeyWrapper, Message, Queue};
use crate::domain::{EventId, create_date};

/// How long a poll that is under way when the run is told to stop may still answer: what it brings would otherwise
/// stay hidden for the visibility timeout.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// Receives, parses and protects: the plaintext of a message lives in this task alone.
pub(super) struct Receiver<Q, W> {
    pub(super) queue: Arc<Q>,
    pub(super) protector: Arc<Protector<W>>,
    pub(super) budget: Arc<Budget>,
    pub(super) byte_budget: ByteBudget,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) counters: Arc<Counters>,
    pub(super) stop: CancellationToken,
    pub(super) wait: Duration,
    pub(super) drain: bool,
    /// A poll came back empty in a run that drains.
    pub(super) drained: CancellationToken,
    pub(super) outages: Arc<Outages>,
}

impl<Q: Queue, W: KeyWrapper> Receiver<Q, W> {
    /// Runs until it is told to stop, the budget is used up or, to drain, one poll brings nothing.
    #[instrument(name = "receive", skip_all)]
    pub(super) async fn run(self, to_store: mpsc::Sender<Protected<Delivery>>) -> Result<(), EtlError> {
        while let Some(mut room) = self.room().await {
            let Some(mut leave) = self.budget.take(BATCH) else { break };
            let Some(messages) = self.receive(leave.messages()).await? else { break };
            leave.use_up(messages.len());
            drop(leave);
            if messages.is_empty() {
                if self.drain {
                    self.drained.cancel();
                    break;
                }
                continue;
            }
            room.shrink_to(messages.iter().map(|message| message.body.len()).sum());
            debug!(count = messages.len(), "received");
            self.counters.received(messages.len());
            let incoming = messages.into_iter().filter_map(|message| self.take_in(message)).unzip();
            let protected = self.protector.protect_all(incoming, room, &self.outages).await?;
            // Waits while the writers are behind. An error means that they have failed, and they say why.
            if to_store.send(protected).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Waits while anything is out of order, and for room for one call's bodies. `None` where the run was told to stop,
    /// or, while it waited, the queue was found empty.
    async fn room(&self) -> Option<Room> {
        let room = async {
            self.outages.over().await;
            self.byte_budget.reserve().await
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            room = room => room,
            () = self.drained.cancelled() => None,
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

    /// `None` where it has no day: it is left in the queue.
    fn take_in(&self, message: Message) -> Option<(Incoming, Delivery)> {
        let Some(create_date) = create_date(&message.sent_timestamp) else {
            error!(message.id = %message.id, "SentTimestamp is no time; the message stays in the queue");
            self.counters.left(1);
            return None;
        };
        let id = EventId::of_message(self.protector.vault, &message.id);
        let delivery = self.in_flight.hold(&message.id, message.receipt);
        Some((Incoming { id, create_date, body: message.body, refusal: None }, delivery))
    }
}
