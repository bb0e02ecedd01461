//! `audit resume`: an older state of the database, brought back into service.
//!
//! ```text
//! last checkpoint ──► copies in sinks ──► which of them the log does not have ──► one entry, beyond all that was signed
//! ```
//!
//! Guaranteed: no number that was signed for the log which is lost gets another entry that could be signed; the entry
//! names the newest checkpoint that was found, which was verified, so that the log says itself what it lacks, for ever.
//! Not guaranteed: that this was no rollback on purpose. Whoever owns the database can go back to an older state and
//! record that: the entry then says who, when and why, and the copies outside are signed for what is gone.

use serde::Serialize;

use super::chain::Restores;
use super::copies::Found;
use super::error::{Broken, NotaryError, SinkFault};
use super::{Options, Sink};
use crate::crypto::checkpoint::SignedCheckpoint;
use crate::crypto::restore::Lost;
use crate::db::audit_log::{self, Filter, Head};
use crate::db::inspect::restored::signs;
use crate::db::{Connection, DbError, Fault, checkpoints, restored, vault};
use crate::domain::VaultId;

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

/// The head of the log, and what was signed and is not in it.
async fn compare(
    conn: &mut Connection,
    options: &Options,
    went_on: WentOn,
) -> Result<(Head, Option<Lost>), ResumeError> {
    let vault = vault::id(conn).await?;
    let head = audit_log::head(conn).await?;
    let last = checkpoints::last(conn, vault).await?;
    let signed = match &last {
        None => 0,
        Some(last) => verify_row(conn, last, options, head).await?,
    };
    let restores = match Restores::after(conn, vault, signed, options.public_key.as_ref()).await {
        Ok(restores) => restores,
        Err(NotaryError::Broken(broken)) => return Err(broken.into()),
        Err(NotaryError::Db(error)) => return Err(error.into()),
        // It reads the database alone.
        Err(_) => return Err(Broken::HeadAltered { seq: head.seq }.into()),
    };
    let mut agrees = signed;
    let (mut differs, mut newest): (Option<Found>, Option<Found>) = (None, None);
    for found in copies(options, vault, signed.max(1), head.seq).await? {
        let seq = found.signed.checkpoint.seq;
        if let Some(lost) = restores.superseding(seq) {
            if lost.checkpoint.checkpoint.seq == seq {
                found.agrees_with(&lost.checkpoint)?;
            }
            continue;
        }
        if let Some(last) = last.as_ref().filter(|last| last.checkpoint.seq == seq) {
            found.agrees_with(last)?;
        } else if seq <= head.seq && hash_of(conn, seq).await? == Some(found.signed.checkpoint.head_hash) {
            // What follows from what was altered would be altered too.
            if let Some(differs) = differs {
                let (place, seq) = (differs.place, differs.signed.checkpoint.seq);
                return Err(Broken::OtherHead { place, seq }.into());
            }
            agrees = seq;
        } else {
            if let Some(newest) = newest.as_ref().filter(|newest| newest.signed.checkpoint.seq == seq) {
                found.agrees_with(&newest.signed)?;
            }
            if seq <= head.seq && differs.is_none() {
                differs = Some(found.clone());
            }
            newest = Some(found);
        }
    }
    match (newest, differs) {
        (None, _) if signs(conn).await?.from_the_future > 0 => Ok((head, None)),
        (None, _) => Err(ResumeError::NothingRestored),
        (Some(_), Some(Found { signed, place })) if went_on == WentOn::No => {
            Err(ResumeError::Differs { place, seq: signed.checkpoint.seq, agrees })
        }
        (Some(newest), differs) => {
            let after = if differs.is_some() { agrees } else { head.seq };
            Ok((head, Some(Lost { after, checkpoint: newest.signed })))
        }
    }
}

/// The last checkpoint of the database must be signed, and for an entry that is there.
async fn verify_row(
    conn: &mut Connection,
    last: &SignedCheckpoint,
    options: &Options,
    head: Head,
) -> Result<i64, ResumeError> {
    const PLACE: &str = "the database";
    let seq = last.checkpoint.seq;
    if options.public_key.as_ref().is_some_and(|key| last.verify(key).is_err()) {
        return Err(Broken::NotSigned { seq }.into());
    }
    if seq > head.seq {
        return Err(Broken::Behind { place: PLACE.to_owned(), signed: seq, head: head.seq }.into());
    }
    match hash_of(conn, seq).await? {
        None => Err(Broken::Gone { seq }.into()),
        Some(hash) if hash != last.checkpoint.head_hash => {
            Err(Broken::OtherHead { place: PLACE.to_owned(), seq }.into())
        }
        Some(_) => Ok(seq),
    }
}

async fn hash_of(conn: &mut Connection, seq: i64) -> Result<Option<[u8; 32]>, DbError> {
    let entries = audit_log::page(conn, &Filter::default(), seq - 1, 1).await?;
    Ok(entries.first().filter(|entry| entry.seq == seq).map(|entry| entry.hash))
}

/// In order: those from entry `first` to `head`, which can be compared, and of those beyond the newest of each sink.
async fn copies(options: &Options, vault: VaultId, first: i64, head: i64) -> Result<Vec<Found>, ResumeError> {
    let mut copies = Vec::new();
    for sink in &options.sinks {
        let failed = |sink: &Sink| {
            let sink = sink.to_string();
            move |fault| ResumeError::Sink { sink, fault }
        };
        let names = sink.names_after(&SignedCheckpoint::file_name(first - 1)).await.map_err(failed(sink))?;
        let numbers: Vec<_> = names.iter().filter_map(|name| SignedCheckpoint::seq_of(name)).collect();
        let newest = numbers.iter().copied().max();
        for seq in numbers.into_iter().filter(|seq| *seq <= head || Some(*seq) == newest) {
            copies.extend(options.copy(sink, vault, seq).await.map_err(failed(sink))?);
        }
    }
    copies.sort_by_key(|found| found.signed.checkpoint.seq);
    Ok(copies)
}
