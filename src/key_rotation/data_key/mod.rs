//! Data keys: rows are opened and sealed anew under fresh keys. Their tokens stay as they are.

mod open;

use std::sync::Arc;
use std::time::Duration;

use diesel_async::AsyncConnection as _;
use tracing::warn;
use uuid::Uuid;

use super::error::RotationError;
use super::opening::Opening;
use super::runner::{Hands, Worker};
use super::waited::waited;
use crate::aws::KeyWrapper;
use crate::db::hold::Hold;
use crate::db::rotation::{self, Range, SealedEvent, data_key};
use crate::db::sealing_keys::Seals;
use crate::db::{Connection, DbError, Fault, Pool};
use crate::domain::{Purpose, RotationKind, VaultId};
use crate::keyring::{KeyLimits, Openers, SealingKeys};
use crate::patience::Patience;
use open::{Page, reseal};

/// Seals the rows of a page anew.
pub struct Reseal<W> {
    vault: VaultId,
    opening: Arc<Opening<W>>,
    sealing: Arc<SealingKeys<W>>,
}

/// Records a rotation of data keys, or finds the one that somebody else has just recorded. `None`: there is nothing to
/// do. See [`data_key::record`].
///
/// # Errors
/// [`RotationError`].
pub async fn start(
    pool: &Pool,
    keys: &[Uuid],
    max_age: Option<Duration>,
    reason: &str,
    patience: Patience,
) -> Result<Option<Uuid>, RotationError> {
    let record = async |conn: &mut Connection| match data_key::record(conn, keys, max_age, reason).await {
        // Or recorded by ourselves, and the answer was lost.
        Err(error) if error.fault() == Fault::Constraint => {
            let under_way = rotation::unfinished(conn, RotationKind::DataKey, Purpose::Data).await?;
            under_way.map(|job| Some(job.id)).ok_or(error)
        }
        recorded => recorded,
    };
    waited(pool, patience, record).await
}

impl<W: KeyWrapper> Reseal<W> {
    /// No key yet: the first page brings the old ones, and makes the new one.
    pub fn new(pool: Pool, wrapper: W, vault: VaultId, limits: KeyLimits) -> Self {
        let wrapper = Arc::new(wrapper);
        let sealing = Arc::new(SealingKeys::new(pool, wrapper.clone(), vault, Seals::Values, limits));
        // While a run waits, the key moves on all the same.
        let waiting = Arc::downgrade(&sealing);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(60)).await;
                let Some(sealing) = waiting.upgrade() else { break };
                sealing.advance().await;
            }
        });
        Self { vault, opening: Opening::new(wrapper, vault), sealing }
    }

    async fn reseal(&self, rows: Vec<SealedEvent>) -> Result<Page, RotationError> {
        let values = u64::try_from(rows.len() * 2).unwrap_or(u64::MAX);
        // Before anything is opened: where KMS is not to be had, no row passes for broken.
        let new = self.sealing.take(values).await?;
        let vault = self.vault;
        let reseal = async move |openers: &mut Openers<W>| reseal(openers, vault, &new, rows).await;
        self.opening.clone().off_the_runtime(reseal).await
    }

    /// Rows and what became of the page in one transaction.
    async fn commit(&self, hands: &Hands, page: &Page) -> Result<(), RotationError> {
        let mut conn = hands.pool.get().await?;
        let hold = conn.transaction(async |conn| {
            let (hold, stored) = match page.rows.as_slice() {
                [] => (Hold::Held, 0),
                rows => data_key::store(conn, hands.job, page.key, rows).await?,
            };
            if hold == Hold::Held {
                rotation::settle(conn, hands.job, hands.runner, stored, &page.failed).await?;
            }
            Ok::<_, DbError>(hold)
        });
        match hold.await? {
            Hold::Held => Ok(()),
            refused => {
                warn!(?refused, "the new data key went out of use");
                self.sealing.forget(page.key).await;
                Err(RotationError::KeysChanged)
            }
        }
    }
}

impl<W: KeyWrapper> Worker for Reseal<W> {
    async fn work(&self, hands: &Hands, range: Range) -> Result<(), RotationError> {
        let rows = data_key::fetch(&mut *hands.pool.get().await?, hands.job, range).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let page = self.reseal(rows).await?;
        self.commit(hands, &page).await
    }
}
