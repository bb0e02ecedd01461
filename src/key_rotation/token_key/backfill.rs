use std::sync::Arc;

use diesel_async::AsyncConnection as _;
use tokio::sync::OnceCell;
use tracing::warn;
use uuid::Uuid;

use super::open::{Opened, open};
use crate::aws::{EncryptionContext, KeyWrapper};
use crate::crypto::Commitment;
use crate::db::rotation::token_key::{self, Leave, NextTokenKey, TokenRefusal, TokenRow};
use crate::db::rotation::{self, Job, Range};
use crate::db::{DbError, Pool, vault};
use crate::domain::{KeyId, Purpose, VaultId};
use crate::key_rotation::opening::Opening;
use crate::key_rotation::waited::waited;
use crate::key_rotation::{Hands, RotationError, Worker};
use crate::keyring::{Openers, TokenKey, TokenKeys};
use crate::patience::Patience;

/// Makes a token key and records a rotation to it. From then on ingestion fills both slots. `None`: the key in use is
/// too young to be left.
///
/// # Errors
/// [`RotationError`]. A refusal is none.
pub async fn start<W: KeyWrapper>(
    pool: &Pool,
    wrapper: &W,
    leave: Leave,
    reason: &str,
    patience: Patience,
) -> Result<Result<Option<Uuid>, TokenRefusal>, RotationError> {
    // KMS is not asked for a key that nobody needs.
    match waited(pool, patience, async |conn| token_key::is_due(conn, leave).await).await? {
        Ok(true) => {}
        Ok(false) => return Ok(Ok(None)),
        Err(refusal) => return Ok(Err(refusal)),
    }
    let vault = waited(pool, patience, vault::id).await?;
    let context = EncryptionContext { vault, purpose: Purpose::Token, key: KeyId::random() };
    let make = || async { Ok::<_, RotationError>(wrapper.generate(context).await?) };
    let key = patience.wait_out(RotationError::may_pass, || (), make).await?;
    let next = NextTokenKey {
        id: context.key,
        wrapped_key: &key.wrapped,
        kms_key: &key.kms_key,
        commitment: &Commitment::to(&key.plaintext),
    };
    // Where the answer was lost, the next try is refused for the rotation that was recorded.
    waited(pool, patience, async |conn| token_key::record(conn, &next, leave, reason).await).await
}

/// Fills the slot of the new key where it is empty.
pub struct Backfill<W> {
    pool: Pool,
    wrapper: Arc<W>,
    job: Job,
    shared: OnceCell<Arc<Shared<W>>>,
}

/// The keys of a rotation, and what opens.
struct Shared<W> {
    opening: Arc<Opening<W>>,
    vault: VaultId,
    old: TokenKey,
    new: TokenKey,
}

impl<W: KeyWrapper> Backfill<W> {
    /// No key yet: the first page brings those of the rotation.
    pub fn new(pool: Pool, wrapper: W, job: Job) -> Self {
        Self { pool, wrapper: Arc::new(wrapper), job, shared: OnceCell::new() }
    }

    async fn shared(&self) -> Result<Arc<Shared<W>>, RotationError> {
        let load = async || Shared::load(&self.pool, &self.wrapper, &self.job).await.map(Arc::new);
        self.shared.get_or_try_init(load).await.cloned()
    }
}

impl<W: KeyWrapper> Worker for Backfill<W> {
    async fn work(&self, hands: &Hands, range: Range) -> Result<(), RotationError> {
        let rows = token_key::fetch(&mut *hands.pool.get().await?, hands.job, range).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let page = self.shared().await?.open(rows).await?.filling();
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
    /// Unwraps both token keys of a job, and compares them with what was committed to.
    async fn load(pool: &Pool, wrapper: &Arc<W>, job: &Job) -> Result<Self, RotationError> {
        let mut conn = pool.get().await?;
        let vault = vault::id(&mut conn).await?;
        let keys = TokenKeys::load(&mut conn, &**wrapper, vault).await?;
        let (mut old, mut new) = (None, None);
        for key in keys.slot_a.into_iter().chain(keys.slot_b) {
            if job.new_key == Some(key.id.0) {
                new = Some(key);
            } else if job.old_keys.contains(&key.id.0) {
                old = Some(key);
            }
        }
        let (old, new) = old.zip(new).ok_or(RotationError::TokenKeysGone)?;
        Ok(Self { opening: Opening::new(wrapper.clone(), vault), vault, old, new })
    }

    /// Opens rows and computes their tokens.
    async fn open(self: Arc<Self>, rows: Vec<TokenRow>) -> Result<Opened, RotationError> {
        let opening = self.opening.clone();
        opening
            .off_the_runtime(async move |openers: &mut Openers<W>| {
                open(openers, self.vault, &self.old, &self.new, rows).await
            })
            .await
    }
}
