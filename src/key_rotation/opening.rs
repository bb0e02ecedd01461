use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::error::RotationError;
use crate::aws::KeyWrapper;
use crate::db::sealing_keys::Seals;
use crate::domain::VaultId;
use crate::keyring::Openers;

/// Data keys that each worker keeps unwrapped, some 2 MiB each at most. Where more processes than this sealed at a
/// time, KMS is asked for a key more than once.
pub(super) const KEYS: usize = 32;

/// What opens events, for each worker at once.
pub(super) struct Opening<W> {
    wrapper: Arc<W>,
    vault: VaultId,
    /// Of workers that are not at it.
    idle: Mutex<Vec<Openers<W>>>,
}

impl<W: KeyWrapper> Opening<W> {
    pub(super) fn new(wrapper: Arc<W>, vault: VaultId) -> Arc<Self> {
        Arc::new(Self { wrapper, vault, idle: Mutex::default() })
    }

    /// Does `work` on a thread of its own: it is all CPU but for a key that is unwrapped now and then.
    pub(super) async fn off_the_runtime<T: Send + 'static>(
        self: Arc<Self>,
        work: impl AsyncFnOnce(&mut Openers<W>) -> Result<T, RotationError> + Send + 'static,
    ) -> Result<T, RotationError> {
        let runtime = Handle::current();
        let working = spawn_blocking(move || {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut openers =
                idle.unwrap_or_else(|| Openers::new(self.wrapper.clone(), self.vault, Seals::Values, KEYS));
            let done = runtime.block_on(work(&mut openers));
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(openers);
            done
        });
        working.await.map_err(|_| RotationError::Task)?
    }
}
