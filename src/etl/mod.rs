//! Ingestion: receive → parse → protect → store → acknowledge.
//!
//! Guaranteed: a message is deleted only after its row, or its dead letter, is committed; a redelivery adds nothing;
//! a message that is no event hurts no other; while KMS or PostgreSQL is away nothing is received, and nothing becomes
//! a dead letter for that reason; memory stays flat whatever the queue holds.
//! Not guaranteed: order. A process that dies leaves what it held to be delivered again after the queue's visibility
//! timeout.

mod acknowledge;
mod budget;
mod error;
mod months;
mod outage;
mod protect;
mod receive;
mod store;
mod summary;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use error::EtlError;
pub use summary::{Counters, Summary};

use crate::aws::{KeyWrapper, Queue};
use crate::db::sealing_keys::Seals;
use crate::db::{Pool, vault};
use crate::keyring::{KeyLimits, KeyringError, SealingKeys, TokenKeys};
use budget::Budget;
use error::GRACE;
use outage::Outages;
use protect::Protector;

/// How ingestion runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Concurrent receivers, ten messages a call each.
    pub receivers: NonZeroUsize,
    /// Concurrent writers, a connection each.
    pub writers: NonZeroUsize,
    /// The most rows of one transaction.
    pub batch_size: NonZeroUsize,
    /// How long a batch waits to fill.
    pub linger: Duration,
    /// How long a poll waits for a first message: 20 s at most.
    pub wait: Duration,
    /// Stop once the queue stays empty for one poll.
    pub drain: bool,
    /// Stop after so many messages.
    pub max_messages: Option<u64>,
    /// How long KMS, SQS or PostgreSQL may be away before the run gives up.
    pub patience: Duration,
    /// How long one data key is used.
    pub key_limits: KeyLimits,
}

/// Drains `queue` into the vault until `stop` is cancelled or the options say that it is enough.
///
/// `pool` is under the role `pii_vault_ingest`. The counters are up to date while it runs and when it ends, however
/// it ends.
///
/// # Errors
/// [`EtlError`]. Nothing is lost by any of them.
pub async fn run<Q: Queue, W: KeyWrapper>(
    queue: Q,
    wrapper: W,
    pool: Pool,
    options: Options,
    counters: Arc<Counters>,
    stop: CancellationToken,
) -> Result<(), EtlError> {
    let wrapper = Arc::new(wrapper);
    let outages = Arc::new(Outages::new(options.patience));
    let loading = outages.wait_out(KeyringError::is_transient, || async {
        let mut conn = pool.get().await?;
        let vault = vault::id(&mut conn).await?;
        Ok::<_, KeyringError>((vault, TokenKeys::load(&mut conn, &*wrapper, vault).await?))
    });
    let (vault, token_keys) = tokio::select! {
        biased;
        loaded = loading => loaded?,
        () = stop.cancelled() => return Ok(()),
    };
    let sealing_keys = |seals| SealingKeys::new(pool.clone(), wrapper.clone(), vault, seals, options.key_limits);
    let protector = Arc::new(Protector {
        vault,
        token_keys: std::sync::RwLock::new(Arc::new(token_keys)),
        data_keys: sealing_keys(Seals::Values),
        dead_letter_keys: sealing_keys(Seals::DeadLetters),
    });
    let stages =
        Stages { queue: Arc::new(queue), wrapper, pool, options, counters, stop: stop.clone(), protector, outages };

    let mut tasks = stages.spawn();
    let _ratchet = AbortOnDrop(tokio::spawn(advance_ratchets(stages.protector.clone())));
    let finish = async {
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(|_| EtlError::Task)??;
        }
        Ok(())
    };
    let grace_over = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    // Tasks that are left when this returns are aborted with the set.
    tokio::select! {
        result = finish => result,
        () = grace_over => Err(EtlError::GraceOver),
    }
}

struct Stages<Q, W> {
    queue: Arc<Q>,
    wrapper: Arc<W>,
    pool: Pool,
    options: Options,
    counters: Arc<Counters>,
    stop: CancellationToken,
    protector: Arc<Protector<W>>,
    outages: Arc<Outages>,
}

impl<Q: Queue, W: KeyWrapper> Stages<Q, W> {
    /// Each stage ends when the one before it has: the channels close in turn.
    fn spawn(&self) -> JoinSet<Result<(), EtlError>> {
        let mut tasks = JoinSet::new();
        // In receive calls of up to ten messages: enough to fill the next batch while one is written.
        let (to_store, protected) = mpsc::channel(self.options.batch_size.get().div_ceil(10));
        let (to_acknowledge, committed) = mpsc::channel(self.options.writers.get());
        let budget = Arc::new(Budget::new(self.options.max_messages));

        for _ in 0..self.options.receivers.get() {
            tasks.spawn(
                receive::Receiver {
                    queue: self.queue.clone(),
                    protector: self.protector.clone(),
                    budget: budget.clone(),
                    counters: self.counters.clone(),
                    stop: self.stop.clone(),
                    wait: self.options.wait,
                    drain: self.options.drain,
                    outages: self.outages.clone(),
                }
                .run(to_store.clone()),
            );
        }
        let protected = Arc::new(Mutex::new(protected));
        for _ in 0..self.options.writers.get() {
            tasks.spawn(
                store::Writer {
                    pool: self.pool.clone(),
                    protector: self.protector.clone(),
                    wrapper: self.wrapper.clone(),
                    counters: self.counters.clone(),
                    batch_size: self.options.batch_size.get(),
                    linger: self.options.linger,
                    outages: self.outages.clone(),
                }
                .run(protected.clone(), to_acknowledge.clone()),
            );
        }
        let acknowledger = acknowledge::Acknowledger {
            queue: self.queue.clone(),
            counters: self.counters.clone(),
            outages: self.outages.clone(),
            stop: self.stop.clone(),
        };
        tasks.spawn(acknowledger.run(committed));
        tasks
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

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
