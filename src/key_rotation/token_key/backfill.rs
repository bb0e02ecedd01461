use std::sync::{Arc, Mutex, PoisonError};

use diesel_async::AsyncConnection as _;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tracing::warn;
use uuid::Uuid;

use super::open::{Opened, open};
use crate::aws::{EncryptionContext, KeyWrapper};
use crate::crypto::Commitment;
use crate::db::rotation::token_key::{self, NextTokenKey, TokenRefusal, TokenRow};
use crate::db::rotation::{self, Job, Range};
use crate::db::sealing_keys::Seals;
use crate::db::{DbError, Pool, vault};
use crate::domain::{KeyId, Purpose, VaultId};
use crate::key_rotation::{Hands, RotationError, Worker};
use crate::keyring::{Openers, TokenKey, TokenKeys};
use crate::patience::Patience;

/// Data keys that each worker keeps unwrapped.
const KEYS: usize = 32;

/// Makes a token key and records a rotation to it. From then on ingestion fills both slots.
///
/// # Errors
/// [`RotationError`]. A refusal is none.
pub async fn start<W: KeyWrapper>(
    pool: &Pool,
    wrapper: &W,
    reason: &str,
    patience: Patience,
) -> Result<Result<Uuid, TokenRefusal>, RotationError> {
    let make = || async {
        let vault = vault::id(&mut *pool.get().await?).await?;
        let context = EncryptionContext { vault, purpose: Purpose::Token, key: KeyId::random() };
        Ok::<_, RotationError>((context.key, wrapper.generate(context).await?))
    };
    let (id, key) = patience.wait_out(RotationError::may_pass, || (), make).await?;
    let next = NextTokenKey {
        id,
        wrapped_key: &key.wrapped,
        kms_key: &key.kms_key,
        commitment: &Commitment::to(&key.plaintext),
    };
    // Where the answer was lost, the next try is refused for the rotation that was recorded.
    let record = || async { Ok(token_key::record(&mut *pool.get().await?, &next, reason).await?) };
    patience.wait_out(RotationError::may_pass, || (), record).await
}

/// Fills the slot of the new key where it is empty.
pub struct Backfill<W> {
    shared: Arc<Shared<W>>,
}

/// The keys of a rotation, and what opens.
pub(super) struct Shared<W> {
    wrapper: Arc<W>,
    vault: VaultId,
    old: TokenKey,
    new: TokenKey,
    /// For each worker that is not at work.
    openers: Mutex<Vec<Openers<W>>>,
}

impl<W: KeyWrapper> Backfill<W> {
    /// Unwraps both token keys of a job, and compares them with what was committed to.
    ///
    /// # Errors
    /// [`RotationError`].
    pub async fn load(pool: &Pool, wrapper: W, job: &Job, patience: Patience) -> Result<Self, RotationError> {
        Ok(Self { shared: Arc::new(Shared::load(pool, wrapper, job, patience).await?) })
    }
}

impl<W: KeyWrapper> Worker for Backfill<W> {
    async fn work(&self, hands: &Hands, range: Range) -> Result<(), RotationError> {
        let rows = token_key::fetch(&mut *hands.pool.get().await?, hands.job, range).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let page = self.shared.clone().off_the_runtime(rows).await?.filling();
        let mut conn = hands.pool.get().await?;
        let stored = conn.transaction(async |conn| {
            let stored = token_key::store(conn, hands.job, &page.fillings).await?;
            if let Some(stored) = stored {
                rotation::settle(conn, hands.job, hands.runner, stored, &page.failed).await?;
            }
            Ok::<_, DbError>(stored)
        });
        if stored.await?.is_none() {
            // The next claim says what became of the rotation.
            warn!("the new key is not pending any more; the page is left as it is");
        }
        Ok(())
    }
}

impl<W: KeyWrapper> Shared<W> {
    pub(super) async fn load(pool: &Pool, wrapper: W, job: &Job, patience: Patience) -> Result<Self, RotationError> {
        let load = || async {
            let mut conn = pool.get().await?;
            let vault = vault::id(&mut conn).await?;
            Ok::<_, RotationError>((vault, TokenKeys::load(&mut conn, &wrapper, vault).await?))
        };
        let (vault, keys) = patience.wait_out(RotationError::may_pass, || (), load).await?;
        let (mut old, mut new) = (None, None);
        for key in keys.slot_a.into_iter().chain(keys.slot_b) {
            if job.new_key == Some(key.id.0) {
                new = Some(key);
            } else if job.old_keys.contains(&key.id.0) {
                old = Some(key);
            }
        }
        let (old, new) = old.zip(new).ok_or(RotationError::TokenKeysGone)?;
        Ok(Self { wrapper: Arc::new(wrapper), vault, old, new, openers: Mutex::default() })
    }

    /// Opens and computes on a thread of its own: it is all CPU but for a key that is unwrapped now and then.
    pub(super) async fn off_the_runtime(self: Arc<Self>, rows: Vec<TokenRow>) -> Result<Opened, RotationError> {
        let runtime = Handle::current();
        spawn_blocking(move || {
            let kept = self.openers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut openers =
                kept.unwrap_or_else(|| Openers::new(self.wrapper.clone(), self.vault, Seals::Values, KEYS));
            // Where it fails the openers go: they keep that a key did not open, and it may at the next try.
            let opened = runtime.block_on(open(&mut openers, self.vault, &self.old, &self.new, rows))?;
            self.openers.lock().unwrap_or_else(PoisonError::into_inner).push(openers);
            Ok(opened)
        })
        .await
        .map_err(|_| RotationError::Task)?
    }
}
