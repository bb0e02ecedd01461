//! `audit resume`: an older state of the database, brought back into service.
//!
//! ```text
//! last checkpoint ──► copies in sinks ──► which the log does not have ──► one entry, beyond all that was signed
//! ```
//!
//! Guaranteed: no number that was signed for the log which is lost gets another entry that could be signed; the entry
//! names the newest checkpoint that was found, which was verified, so that the log says itself what it lacks, for ever.
//! Not guaranteed: that this was no rollback on purpose. Whoever owns the database can go back to an older state and
//! record that: the entry then says who, when and why, and the copies outside are signed for what is gone.

mod compare;

use serde::Serialize;

use super::Options;
use super::error::{Broken, SinkFault};
use crate::db::{Connection, DbError, Fault, restored};
use compare::compare;

/// How often it is tried where something is recorded meanwhile.
const TRIES: u8 = 5;

/// What was, or would be, recorded.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Resumed {
    /// Its entry.
    pub seq: i64,
    /// The entry before it.
    pub last: i64,
    /// Entries that were signed and come after this one are lost.
    pub lost_after: Option<i64>,
    /// Up to this one, as far as was signed.
    pub lost_through: Option<i64>,
    /// When that was signed, by the clock of who signed it.
    pub lost_signed_at: Option<String>,
    /// How many receipts could still have handed out something; `None`: it was not recorded.
    pub closed_receipts: Option<i64>,
    /// How many jobs of redriving.
    pub closed_redrive_jobs: Option<i64>,
}

/// Whether the log may differ from what was signed of entries that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WentOn {
    /// Then it was altered.
    No,
    /// It was put back and went on before that was noticed, says who resumes.
    Yes,
}

/// Nothing was recorded.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// Nothing is ahead, and no receipt is of another cluster.
    #[error(
        "nothing tells that this database was restored: its log has all that was signed, and no receipt is of a \
         transaction that this server has not come to yet"
    )]
    NothingRestored,
    /// What it holds may be newer than what the others hold.
    #[error("what {sink} holds must be known, and cannot be read: {fault}")]
    Sink {
        /// Which.
        sink: String,
        /// Why.
        fault: SinkFault,
    },
    /// An entry that the log has was signed with another hash.
    #[error(
        "{place} has a checkpoint for entry {seq} with another hash than the audit log: that entry, or one before it, was \
         altered; or the database was put back to an older state and went on before that was noticed. If you know that it \
         was put back, say so by --went-on: what was signed after entry {agrees} is then recorded as lost"
    )]
    Differs {
        /// Where the checkpoint is.
        place: String,
        /// Its entry.
        seq: i64,
        /// The last entry that is as it was signed.
        agrees: i64,
    },
    /// Log and checkpoints do not fit together, restored or not.
    #[error("nothing is recorded: {0}")]
    Broken(#[from] Broken),
    /// PostgreSQL.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl ResumeError {
    /// Whether what is stored is not what was signed.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Differs { .. } | Self::Sink { fault: SinkFault::Foreign(_), .. })
    }
}

/// Records that what is restored is in service again. `options` says where copies are, all of which must be readable,
/// and the key that verifies them. `conn` is under the owner's role.
///
/// # Errors
/// [`ResumeError`]: nothing was recorded.
pub async fn resume(
    conn: &mut Connection,
    options: &Options,
    went_on: WentOn,
    reason: &str,
    is_dry_run: bool,
) -> Result<Resumed, ResumeError> {
    let mut tries = TRIES;
    loop {
        let (head, lost) = compare(conn, options, went_on).await?;
        let lost_seq = lost.as_ref().map(|lost| lost.checkpoint.checkpoint.seq);
        let mut resumed = Resumed {
            seq: lost_seq.unwrap_or(0).max(head.seq).saturating_add(1),
            last: head.seq,
            lost_after: lost.as_ref().map(|lost| lost.after),
            lost_through: lost_seq,
            lost_signed_at: lost.as_ref().map(|lost| lost.checkpoint.checkpoint.at.to_string()),
            closed_receipts: None,
            closed_redrive_jobs: None,
        };
        if is_dry_run {
            return Ok(resumed);
        }
        match restored::record(conn, reason, head, lost.as_ref()).await {
            Err(error) if error.fault() == Fault::Conflict && tries > 1 => tries -= 1,
            Err(error) => return Err(error.into()),
            Ok(recorded) => {
                resumed.seq = recorded.seq;
                resumed.closed_receipts = Some(recorded.closed_receipts);
                resumed.closed_redrive_jobs = Some(recorded.closed_redrive_jobs);
                return Ok(resumed);
            }
        }
    }
}
