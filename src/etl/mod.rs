//! Ingestion: receive → parse → protect → store → acknowledge; from a file, the same without what has to do with a
//! queue.
//!
//! Guaranteed: a message is deleted only after its row, or its dead letter, is committed; a redelivery adds nothing;
//! a message that is no event hurts no other; while KMS or PostgreSQL is away nothing is received, and nothing becomes
//! a dead letter for that reason; memory stays flat whatever the queue holds;
//! what is in flight stays hidden from other receivers for as long as this process lives.
//! Not guaranteed: order. A process that dies leaves what it held to be delivered again after the queue's visibility
//! timeout.

mod acknowledge;
mod budget;
mod byte_budget;
mod error;
mod in_flight;
mod line_progress;
mod line_reader;
mod lines;
mod months;
mod outage;
mod pipeline;
mod protect;
mod receive;
pub mod redrive;
mod store;
mod summary;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use byte_budget::LEAST_INFLIGHT_BYTES;
pub use error::EtlError;
pub use line_progress::LineProgress;
pub use lines::LineFile;
pub use summary::{Counters, Summary};

use crate::aws::{KeyWrapper, Queue};
use crate::db::Pool;
use crate::keyring::KeyLimits;
use budget::Budget;
use in_flight::InFlight;
use pipeline::Pipeline;

/// How ingestion runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Concurrent receivers, ten messages a call each; of a file, tasks that parse and protect.
    pub receivers: NonZeroUsize,
    /// Concurrent writers, a connection each.
    pub writers: NonZeroUsize,
    /// About how many rows one transaction has at the most: what was received or read together stays together.
    pub batch_size: NonZeroUsize,
    /// How long a batch waits to fill.
    pub linger: Duration,
    /// How many bytes of bodies may be in flight: [`LEAST_INFLIGHT_BYTES`] or more.
    pub max_inflight_bytes: usize,
    /// Of a queue: how long a poll waits for a first message: 20 s at most.
    pub wait: Duration,
    /// Of a queue: stop once it stays empty for one poll.
    pub drain: bool,
    /// Of a queue: stop after so many messages.
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
    let Some(mut pipeline) = Pipeline::load(wrapper, pool, options, counters, stop).await? else { return Ok(()) };
    let (queue, in_flight) = (Arc::new(queue), Arc::new(InFlight::default()));
    let (to_store, settled) = pipeline.spawn_writers();
    let drained = CancellationToken::new();
    let budget = Arc::new(Budget::new(pipeline.options.max_messages));
    for _ in 0..pipeline.options.receivers.get() {
        let receiver = receive::Receiver {
            queue: queue.clone(),
            protector: pipeline.protector.clone(),
            budget: budget.clone(),
            byte_budget: pipeline.byte_budget.clone(),
            in_flight: in_flight.clone(),
            counters: pipeline.counters.clone(),
            stop: pipeline.stop.clone(),
            wait: pipeline.options.wait,
            drain: pipeline.options.drain,
            drained: drained.clone(),
            outages: pipeline.outages.clone(),
        };
        pipeline.spawn(receiver.run(to_store.clone()));
    }
    drop(to_store);
    let acknowledger = acknowledge::Acknowledger {
        queue: queue.clone(),
        deadline: Default::default(),
        counters: pipeline.counters.clone(),
        outages: pipeline.outages.clone(),
        stop: pipeline.stop.clone(),
    };
    pipeline.spawn(acknowledger.run(settled));
    pipeline.spawn_helper(in_flight.keep_hidden(queue));
    pipeline.finish().await
}

/// Reads `file` into the vault until its end or until `stop` is cancelled. What was read before adds nothing.
///
/// # Errors
/// [`EtlError`]: also where it was stopped, or lines were given up. [`LineProgress`] says from which line to go on.
pub async fn run_file<W: KeyWrapper>(
    file: LineFile,
    wrapper: W,
    pool: Pool,
    options: Options,
    counters: Arc<Counters>,
    stop: CancellationToken,
) -> Result<(), EtlError> {
    match Pipeline::load(wrapper, pool, options, counters, stop).await? {
        Some(pipeline) => lines::run(file, pipeline).await,
        None => Err(EtlError::Stopped),
    }
}
