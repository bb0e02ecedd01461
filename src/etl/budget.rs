use tokio::sync::{Semaphore, TryAcquireError};

/// How many messages may still be received: `--max-messages`, shared by all receivers.
pub(super) struct Budget(Option<Semaphore>);

/// Leave to receive up to so many messages. What is not used goes back when it is dropped.
pub(super) struct Leave<'a> {
    semaphore: Option<&'a Semaphore>,
    messages: usize,
}

impl Budget {
    pub(super) fn new(messages: Option<u64>) -> Self {
        Self(messages.map(|messages| {
            Semaphore::new(usize::try_from(messages).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS))
        }))
    }

    /// Leave for up to `most` messages, or `None` where nothing is left: either used up, or in the hands of receivers
    /// that will use it or give it back to their own next call.
    pub(super) fn take(&self, most: usize) -> Option<Leave<'_>> {
        let Some(semaphore) = &self.0 else {
            return Some(Leave { semaphore: None, messages: most });
        };
        loop {
            let messages = semaphore.available_permits().min(most);
            if messages == 0 {
                return None;
            }
            match semaphore.try_acquire_many(u32::try_from(messages).unwrap_or(u32::MAX)) {
                Ok(permit) => {
                    permit.forget();
                    return Some(Leave { semaphore: Some(semaphore), messages });
                }
                Err(TryAcquireError::NoPermits) => {}
                Err(TryAcquireError::Closed) => return None,
            }
        }
    }
}

impl Leave<'_> {
    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    pub(super) fn use_up(&mut self, messages: usize) {
        self.messages = self.messages.saturating_sub(messages);
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if let Some(semaphore) = self.semaphore {
            semaphore.add_permits(self.messages);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_budget_and_unused_leave_comes_back() {
        let budget = Budget::new(Some(13));
        let mut first = budget.take(10).unwrap();
        let second = budget.take(10).unwrap();
        assert_eq!((first.messages(), second.messages()), (10, 3));
        assert!(budget.take(10).is_none());
        first.use_up(4);
        drop(first);
        assert_eq!(budget.take(10).unwrap().messages(), 6);
        drop(second);
    }

    #[test]
    fn without_a_limit_there_is_always_leave() {
        let budget = Budget::new(None);
        let held: Vec<_> = (0..5).map(|_| budget.take(10).unwrap()).collect();
        assert!(held.iter().all(|leave| leave.messages() == 10));
    }
}
