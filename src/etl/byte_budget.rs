use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::aws::queue::{BATCH, LARGEST_BODY};

/// The least that `--max-inflight-bytes` may be: one receive call can bring so much.
pub const LEAST_INFLIGHT_BYTES: usize = BATCH * LARGEST_BODY;

/// A permit is so many bytes: tokio counts permits in 32 bits.
const UNIT: usize = 1024;

/// How many bytes of bodies may be in flight, shared by all receivers.
///
/// Room is reserved before a call, for the most that it can bring, and what it did not bring is given back. It flows
/// one way, with the messages, and nothing further down asks for more: so each reservation is given back in the end,
/// and whoever waits gets its turn.
#[derive(Clone)]
pub(super) struct ByteBudget(Arc<Semaphore>);

/// Room for bodies. Given back when dropped.
pub(super) struct Room(OwnedSemaphorePermit);

impl ByteBudget {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes.max(LEAST_INFLIGHT_BYTES) / UNIT).min(Semaphore::MAX_PERMITS))))
    }

    /// Waits for room for the most that one call can bring. `None` never happens: the budget is never closed.
    pub(super) async fn reserve(&self) -> Option<Room> {
        self.0.clone().acquire_many_owned(units(LEAST_INFLIGHT_BYTES)).await.ok().map(Room)
    }
}

impl Room {
    /// Gives back all but `bytes`.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.0.num_permits().saturating_sub(bytes.div_ceil(UNIT));
        drop(self.0.split(surplus));
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_used_is_given_back_and_the_rest_on_drop() {
        let budget = ByteBudget::new(LEAST_INFLIGHT_BYTES);
        let mut room = budget.reserve().await.unwrap();
        assert_eq!(budget.0.available_permits(), 0);
        room.shrink_to(1);
        assert_eq!(budget.0.available_permits() * UNIT, LEAST_INFLIGHT_BYTES - UNIT);
        room.shrink_to(LEAST_INFLIGHT_BYTES * 2);
        assert_eq!(budget.0.available_permits() * UNIT, LEAST_INFLIGHT_BYTES - UNIT, "more than was reserved is kept");
        drop(room);
        assert_eq!(budget.0.available_permits() * UNIT, LEAST_INFLIGHT_BYTES);
    }

    #[tokio::test]
    async fn the_least_budget_serves_one_call_after_the_other() {
        let budget = ByteBudget::new(1);
        let callers = (0..20).map(|_| async {
            let room = budget.reserve().await;
            tokio::task::yield_now().await;
            room.is_some()
        });
        assert!(futures_util::future::join_all(callers).await.into_iter().all(|served| served));
    }
}
