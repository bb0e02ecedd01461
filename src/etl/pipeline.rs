use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::Options;
use super::byte_budget::ByteBudget;
use super::error::{EtlError, GRACE};
use super::outage::Outages;
use super::protect::{Protected, Protector};
use super::store::{Settled, Writer};
use super::summary::Counters;
use crate::aws::KeyWrapper;
use crate::db::sealing_keys::Seals;
use crate::db::{Pool, vault};
use crate::keyring::{KeyringError, SealingKeys, TokenKeys};

/// What every source shares: keys, writers, limits.
pub(super) struct Pipeline<W> {
    pub(super) options: Options,
    pub(super) counters: Arc<Counters>,
    pub(super) stop: CancellationToken,
    pub(super) protector: Arc<Protector<W>>,
    pub(super) byte_budget: ByteBudget,
    pub(super) outages: Arc<Outages>,
    wrapper: Arc<W>,
    pool: Pool,
    tasks: JoinSet<Result<(), EtlError>>,
    // Aborted with the set.
    helpers: JoinSet<()>,
}

/// Both ends of the writers.
pub(super) type Writers<R> = (mpsc::Sender<Protected<R>>, mpsc::Receiver<Settled<R>>);

impl<W: KeyWrapper> Pipeline<W> {
    /// Loads the token keys. `None` where the run was told to stop meanwhile.
    pub(super) async fn load(
        wrapper: W,
        pool: Pool,
        options: Options,
        counters: Arc<Counters>,
        stop: CancellationToken,
    ) -> Result<Option<Self>, EtlError> {
        let wrapper = Arc::new(wrapper);
        let outages = Arc::new(Outages::new(options.patience));
        let loading = outages.wait_out(KeyringError::is_transient, || async {
            let mut conn = pool.get().await?;
            let id = vault::id(&mut conn).await?;
            Ok::<_, KeyringError>((id, TokenKeys::load(&mut conn, &*wrapper, id).await?))
        });
        let (id, token_keys) = tokio::select! {
            biased;
            loaded = loading => loaded?,
            () = stop.cancelled() => return Ok(None),
        };
        let sealing_keys = |seals| SealingKeys::new(pool.clone(), wrapper.clone(), id, seals, options.key_limits);
        let protector = Arc::new(Protector {
            vault: id,
            token_keys: RwLock::new(Arc::new(token_keys)),
            data_keys: sealing_keys(Seals::Values),
            dead_letter_keys: sealing_keys(Seals::DeadLetters),
        });
        let byte_budget = ByteBudget::new(options.max_inflight_bytes);
        let mut helpers = JoinSet::new();
        helpers.spawn(advance_ratchets(protector.clone()));
        helpers.spawn(follow_token_keys(protector.clone(), wrapper.clone(), pool.clone()));
        let tasks = JoinSet::new();
        Ok(Some(Self { options, counters, stop, protector, byte_budget, outages, wrapper, pool, tasks, helpers }))
    }

    /// Starts the writers. They end once every sender is gone and everything that was sent is settled.
    pub(super) fn spawn_writers<R: Send + Sync + 'static>(&mut self) -> Writers<R> {
        // In receive calls of up to ten messages: enough to fill the next batch while one is written.
        let (to_store, protected) = mpsc::channel(self.options.batch_size.get().div_ceil(10));
        let (to_settle, settled) = mpsc::channel(self.options.writers.get());
        let protected = Arc::new(Mutex::new(protected));
        for _ in 0..self.options.writers.get() {
            let writer = Writer {
                pool: self.pool.clone(),
                protector: self.protector.clone(),
                wrapper: self.wrapper.clone(),
                counters: self.counters.clone(),
                batch_size: self.options.batch_size.get(),
                linger: self.options.linger,
                outages: self.outages.clone(),
            };
            self.tasks.spawn(writer.run(protected.clone(), to_settle.clone()));
        }
        (to_store, settled)
    }

    /// Starts a stage, which must end by itself.
    pub(super) fn spawn(&mut self, stage: impl Future<Output = Result<(), EtlError>> + Send + 'static) {
        self.tasks.spawn(stage);
    }

    /// Starts what runs beside the stages for as long as they do.
    pub(super) fn spawn_helper(&mut self, helper: impl Future<Output = ()> + Send + 'static) {
        self.helpers.spawn(helper);
    }

    /// Waits for all stages: each ends when the one before it has, as the channels close in turn.
    pub(super) async fn finish(mut self) -> Result<(), EtlError> {
        let finish = async {
            while let Some(ended) = self.tasks.join_next().await {
                ended.map_err(|_| EtlError::Task)??;
            }
            Ok(())
        };
        let grace_over = async {
            self.stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        // Tasks that are left when this returns are aborted with the set.
        tokio::select! {
            result = finish => result,
            () = grace_over => Err(EtlError::GraceOver),
        }
    }
}

/// A process that waits on an empty queue moves on as well.
async fn advance_ratchets<W: KeyWrapper>(protector: Arc<Protector<W>>) {
    let mut minute = tokio::time::interval(Duration::from_secs(60));
    loop {
        minute.tick().await;
        protector.data_keys.advance().await;
        protector.dead_letter_keys.advance().await;
    }
}

/// A key that a rotation made is in use within a second or two, before batches without it are refused.
async fn follow_token_keys<W: KeyWrapper>(protector: Arc<Protector<W>>, wrapper: Arc<W>, pool: Pool) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        second.tick().await;
        let changed = async {
            let mut conn = pool.get().await?;
            protector.token_keys().changed(&mut conn, &*wrapper, protector.vault).await
        };
        match changed.await {
            Ok(None) => {}
            Ok(Some(keys)) => {
                info!(keys = ?keys.ids(), "the token keys in use changed");
                protector.set_token_keys(keys);
            }
            // Those who store and seal say what is away; a batch that lacks a key is refused.
            Err(error) => debug!(%error, "not known whether the token keys changed"),
        }
    }
}
