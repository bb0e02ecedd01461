use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use tracing::{debug, warn};

use crate::aws::queue::BATCH;
use crate::aws::{Queue, ReceiptHandle};

/// Renewals under way at once.
const CONCURRENCY: usize = 8;

/// The messages that were received and are not deleted yet, by SQS's message id.
#[derive(Default)]
pub(super) struct InFlight(Mutex<HashMap<String, Held>>);

struct Held {
    newest: ReceiptHandle,
    /// Somebody deletes it by that handle.
    deleting: bool,
    copies: usize,
    renewed: Instant,
}

/// One delivery of a message. While there is one, the message is kept hidden.
pub(super) struct Delivery {
    in_flight: Arc<InFlight>,
    id: String,
}

impl InFlight {
    /// Takes note of a delivery. Where the message is in flight already, its newest handle is kept: SQS may refuse to
    /// delete by an older one.
    pub(super) fn hold(self: &Arc<Self>, id: &str, receipt: ReceiptHandle) -> Delivery {
        let renewed = Instant::now();
        match self.lock().entry(id.to_owned()) {
            Entry::Vacant(entry) => {
                entry.insert(Held { newest: receipt, deleting: false, copies: 1, renewed });
            }
            Entry::Occupied(mut entry) => {
                let held = entry.get_mut();
                *held = Held { newest: receipt, deleting: false, copies: held.copies + 1, renewed };
            }
        }
        Delivery { in_flight: self.clone(), id: id.to_owned() }
    }

    /// Hides what is in flight anew each time that half of its timeout has passed, for as long as it is polled.
    pub(super) async fn keep_hidden<Q: Queue>(self: Arc<Self>, queue: Arc<Q>) {
        let timeout = queue.visibility_timeout();
        // What is a quarter old would be more than half at the next look.
        let mut quarter = tokio::time::interval((timeout / 4).max(Duration::from_millis(100)));
        loop {
            quarter.tick().await;
            let due = self.take_due(timeout / 4);
            stream::iter(due.chunks(BATCH))
                .for_each_concurrent(CONCURRENCY, |receipts| {
                    let queue = queue.clone();
                    async move {
                        match queue.hide(receipts.to_vec(), timeout).await {
                            Ok(unchanged) => debug!(messages = receipts.len(), unchanged, "hidden for longer"),
                            Err(error) => {
                                warn!(%error, messages = receipts.len(), "not hidden for longer: they may come again");
                            }
                        }
                    }
                })
                .await;
        }
    }

    fn take_due(&self, age: Duration) -> Vec<ReceiptHandle> {
        let now = Instant::now();
        let mut held = self.lock();
        let due = held.values_mut().filter(|held| now.duration_since(held.renewed) >= age);
        due.map(|held| {
            held.renewed = now;
            held.newest.clone()
        })
        .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Held>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Delivery {
    /// What deletes its message: the newest handle. `None` where another delivery deletes by it already.
    pub(super) fn to_delete(&self) -> Option<ReceiptHandle> {
        let mut held = self.in_flight.lock();
        let message = held.get_mut(&self.id).filter(|message| !message.deleting)?;
        message.deleting = true;
        Some(message.newest.clone())
    }

    /// What makes its message visible: the newest handle.
    pub(super) fn to_release(&self) -> Option<ReceiptHandle> {
        self.in_flight.lock().get(&self.id).map(|message| message.newest.clone())
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let mut held = self.in_flight.lock();
        if let Some(message) = held.get_mut(&self.id) {
            message.copies -= 1;
            if message.copies == 0 {
                held.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(text: &str) -> ReceiptHandle {
        ReceiptHandle(text.to_owned())
    }

    #[test]
    fn the_newest_handle_counts_until_the_last_copy_is_gone() {
        let in_flight = Arc::new(InFlight::default());
        let first = in_flight.hold("a", handle("a1"));
        let second = in_flight.hold("a", handle("a2"));
        assert_eq!(first.to_delete(), Some(handle("a2")));
        assert_eq!(second.to_delete(), None, "it is being deleted");
        let third = in_flight.hold("a", handle("a3"));
        drop((first, second));
        assert_eq!((third.to_delete(), third.to_release()), (Some(handle("a3")), Some(handle("a3"))));
        drop(third);
        assert!(in_flight.take_due(Duration::ZERO).is_empty());
    }

    #[test]
    fn each_is_due_once_it_is_old_enough() {
        let in_flight = Arc::new(InFlight::default());
        let _held = in_flight.hold("a", handle("a1"));
        assert!(in_flight.take_due(Duration::from_secs(60)).is_empty());
        assert_eq!(in_flight.take_due(Duration::ZERO), [handle("a1")]);
        assert!(in_flight.take_due(Duration::from_secs(60)).is_empty());
    }
}
