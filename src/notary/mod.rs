//! `audit notary`: signs heads of the audit log, and puts copies where the database's owner cannot reach them.
//!
//! ```text
//! wait for an append ──► flush ──► lock ──► compare with the copies ──► read and hash anew ──► KMS signs ──►
//! copies to all sinks ──► store ──► commit
//! ```
//!
//! Guaranteed:
//! - an entry is signed only after it and all since the last checkpoint were read, and have the hashes that they say;
//! - an entry is signed only once it is on disk: no crash takes back what has a signature;
//! - there are no two heads for one entry, and no checkpoint for an entry before one that is signed, as far as the
//!   database, the sinks that can be read and this process know: what would be one is refused;
//! - whoever reads a checkpoint in the database can rely on copies being in all sinks ([`Failing::Stops`]);
//! - a log that was put back to an older state is signed again only once that is on record ([`resume()`]);
//! - copies are never written over; two notaries at once, or one killed at any moment, leave one chain.
//!
//! Not guaranteed: that an entry was not altered before it was first signed, by who could compute all hashes from it on
//! anew; that a sink keeps what it was given.

mod attempt;
mod chain;
mod copies;
mod directory;
mod error;
mod resume;
mod sink;

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub use error::{Broken, NotaryError, SinkFault};
pub use resume::{ResumeError, Resumed, WentOn, resume};
pub use sink::{Sink, WriteLine};

use attempt::{Attempt, attempt};

use crate::aws::Signer;
use crate::crypto::checkpoint::{Checkpoint, CheckpointKey};
use crate::db::checkpoints::{self, CHANNEL};
use crate::db::{Connection, Role, Server};

/// How often the log is looked at where no word comes.
const POLL: Duration = Duration::from_secs(1);
/// After a look that found nothing: any login can send the word.
const IDLE: Duration = Duration::from_millis(20);

/// What a failing sink does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Failing {
    /// Nothing is signed until it works again, or patience is over.
    #[default]
    Stops,
    /// An error is logged, and signing goes on.
    Alarms,
}

/// How to sign.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where copies go.
    pub sinks: Vec<Sink>,
    /// What a failing one does.
    pub on_sink_failure: Failing,
    /// Verifies what is stored, what is found and what KMS signs, if it is known.
    pub public_key: Option<CheckpointKey>,
    /// The least time between two signatures.
    pub gap: Duration,
    /// How long PostgreSQL, KMS or a sink may fail before the notary gives up.
    pub patience: Duration,
}

/// What was done.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// How many checkpoints were signed.
    pub signed: u64,
    /// How many that were found in sinks were stored.
    pub taken_over: u64,
    /// The last one, whoever signed it.
    #[serde(skip)]
    pub last: Option<Checkpoint>,
}

/// When it is done.
#[derive(Clone, Debug)]
pub enum Until {
    /// Once the log is signed as it is.
    Signed,
    /// When it is told.
    Stopped(CancellationToken),
}

/// Signs each head. What PostgreSQL, KMS and sinks do wrong is waited out for as long as patience lasts, but for wrong
/// settings at the start.
///
/// # Errors
/// [`NotaryError`].
pub async fn run(
    signer: &impl Signer,
    server: &Server,
    options: &Options,
    report: &mut Report,
    until: Until,
) -> Result<(), NotaryError> {
    let mut conn = Some(server.connect(Role::Notary).await?);
    let (stop, listener) = match until {
        Until::Signed => (CancellationToken::new(), None),
        Until::Stopped(stop) => (stop, Some(server.listen(CHANNEL))),
    };
    let (mut compared, mut worked, mut failing) = (false, false, None::<(Instant, Duration)>);
    while !stop.is_cancelled() {
        let pause = match step(&mut conn, signer, server, options, &mut compared, report).await {
            Ok(Attempt::Busy) => IDLE,
            Ok(done) => {
                (failing, worked) = (None, true);
                if matches!(done, Attempt::Stored) { options.gap } else { IDLE }
            }
            Err(error) => {
                // Its transaction ends with it; and what is there now may be another database.
                (conn, compared) = (None, false);
                let (since, pause) = failing.unwrap_or((Instant::now(), Duration::from_millis(100)));
                if !error.is_transient(worked) || since.elapsed() >= options.patience {
                    return Err(error);
                }
                warn!(%error, pause_ms = pause.as_millis(), "trying again");
                failing = Some((since, (pause * 2).min(Duration::from_secs(5))));
                wait(pause, &stop).await;
                continue;
            }
        };
        let Some(listener) = &listener else {
            match compared {
                true => break,
                false => continue,
            }
        };
        wait(pause, &stop).await;
        tokio::select! {
            () = listener.heard() => {}
            () = wait(POLL, &stop) => {}
        }
    }
    Ok(())
}

async fn step(
    conn: &mut Option<Connection>,
    signer: &impl Signer,
    server: &Server,
    options: &Options,
    compared: &mut bool,
    report: &mut Report,
) -> Result<Attempt, NotaryError> {
    let conn = match conn {
        Some(conn) => conn,
        None => conn.insert(server.connect(Role::Notary).await?),
    };
    let state = checkpoints::state(conn).await?;
    if *compared {
        let seen = report.last.map_or(0, |last| last.seq);
        if (state.head_seq, state.signed_seq) == (seen, seen) {
            return Ok(Attempt::Nothing);
        }
    }
    // Behind the look at the head, before the lock: the signature must not outlive what it is for.
    checkpoints::reach_disk(conn).await?;
    let done = attempt(conn, signer, options, state.head_seq, !*compared, report).await?;
    if let Attempt::Busy = done {
        checkpoints::commit(conn).await?;
    } else {
        *compared = true;
    }
    Ok(done)
}

async fn wait(pause: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = stop.cancelled() => {}
    }
}
