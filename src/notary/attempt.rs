//! One transaction: read, sign, copy out, store.

use time::OffsetDateTime;
use tracing::{info, warn};

use super::chain::Chain;
use super::copies::Found;
use super::error::{Broken, NotaryError};
use super::{Options, Report};
use crate::aws::Signer;
use crate::crypto::checkpoint::{Checkpoint, NO_CHECKPOINT, SignedCheckpoint};
use crate::db::Connection;
use crate::db::checkpoints::{self, Position};
use crate::domain::audit::UnixMicros;

/// How one ended.
#[derive(Debug)]
pub(super) enum Attempt {
    /// There was nothing to sign.
    Nothing,
    /// Another notary was at it all the time.
    Busy,
    /// There are checkpoints that were not there before.
    Stored,
}

/// Signs the head of the log, if it is not signed. A transaction that fails ends with the connection: drop it.
///
/// What the sinks have from the last checkpoint on is held against the log, and taken over: another notary may have
/// been killed before it could store its own. `durable`: the last entry that is known to be on disk. `anew`: this
/// connection has not compared yet.
pub(super) async fn attempt(
    conn: &mut Connection,
    signer: &impl Signer,
    options: &Options,
    durable: i64,
    anew: bool,
    report: &mut Report,
) -> Result<Attempt, NotaryError> {
    let Some(position) = checkpoints::begin(conn).await? else { return Ok(Attempt::Busy) };
    verify_last(&position, options, report)?;
    let mut chain = Chain::at_last(conn, &position, options.public_key.as_ref()).await?;
    let mut last = position.last.clone();
    let mut added = Vec::new();
    for found in left_behind(conn, &position, options, anew, &mut chain).await? {
        options.write(&found.signed).await?;
        checkpoints::store(conn, &found.signed).await?;
        warn!(seq = found.signed.checkpoint.seq, place = found.place, "took over a checkpoint that was not stored");
        report.taken_over += 1;
        added.push(found.signed.checkpoint.seq);
        last = Some(found.signed);
    }
    let through = durable.min(position.head.seq);
    if through > last.as_ref().map_or(0, |last| last.checkpoint.seq) {
        chain.advance(conn, through).await?;
        if through == position.head.seq && chain.hash != position.head.hash {
            return Err(Broken::HeadAltered { seq: chain.seq }.into());
        }
        let signed = sign(signer, options, &chain, &position, last.as_ref()).await?;
        options.write(&signed).await?;
        checkpoints::store(conn, &signed).await?;
        added.push(signed.checkpoint.seq);
        last = Some(signed);
        report.signed += 1;
    }
    checkpoints::commit(conn).await?;
    let Some(last) = last else { return Ok(Attempt::Nothing) };
    report.last = Some(last.checkpoint);
    match added.last() {
        None => Ok(Attempt::Nothing),
        Some(seq) => {
            info!(seq, "signed");
            Ok(Attempt::Stored)
        }
    }
}

/// The database's last must be a checkpoint of ours, and none before one that this process has seen.
fn verify_last(position: &Position, options: &Options, report: &Report) -> Result<(), Broken> {
    let last = position.last.as_ref();
    if let Some(seen) = report.last {
        let place = || "this process".to_owned();
        if position.head.seq < seen.seq {
            return Err(Broken::Behind { place: place(), signed: seen.seq, head: position.head.seq });
        }
        if last.is_none_or(|last| last.checkpoint.seq < seen.seq) {
            return Err(Broken::OtherPrevious { place: place(), seq: seen.seq });
        }
        if last.is_some_and(|last| last.checkpoint.seq == seen.seq && last.checkpoint != seen) {
            return Err(Broken::OtherHead { place: place(), seq: seen.seq });
        }
    }
    match (last, &options.public_key) {
        (Some(last), Some(key)) => last.verify(key).map_err(|_| Broken::NotSigned { seq: last.checkpoint.seq }),
        _ => Ok(()),
    }
}

/// Copies of checkpoints that the database does not have, in order: of a notary that was killed before it could store
/// them. All others must agree with the log.
async fn left_behind(
    conn: &mut Connection,
    position: &Position,
    options: &Options,
    anew: bool,
    chain: &mut Chain,
) -> Result<Vec<Found>, NotaryError> {
    // The last one's own copies need one look alone.
    let first = if anew { chain.seq.max(1) } else { chain.seq + 1 };
    let mut ahead: Vec<Found> = Vec::new();
    for (seq, copies) in options.copies_from(position.vault, first, anew).await? {
        for found in copies {
            if seq > position.head.seq {
                return Err(Broken::Behind { place: found.place, signed: seq, head: position.head.seq }.into());
            }
            if let Some(lost) = chain.restores().superseding(seq) {
                if lost.checkpoint.checkpoint.seq == seq {
                    found.agrees_with(&lost.checkpoint)?;
                }
                continue;
            }
            match &position.last {
                Some(last) if last.checkpoint.seq == seq => found.agrees_with(last)?,
                _ => {
                    chain.advance(conn, seq).await?;
                    if found.signed.checkpoint.head_hash != chain.hash {
                        return Err(Broken::OtherHead { place: found.place, seq }.into());
                    }
                    ahead.push(found);
                }
            }
        }
    }
    let mut link = position.last.as_ref().map_or(NO_CHECKPOINT, |last| last.checkpoint.hash());
    let mut taken = Vec::new();
    for (restored, next_link) in chain.restores().links() {
        let later = ahead.split_off(ahead.partition_point(|found| found.signed.checkpoint.seq < restored));
        follow(ahead, &mut link, &mut taken)?;
        (ahead, link) = (later, next_link);
    }
    follow(ahead, &mut link, &mut taken)?;
    Ok(taken)
}

/// Takes those which follow each other.
fn follow(mut ahead: Vec<Found>, link: &mut [u8; 32], taken: &mut Vec<Found>) -> Result<(), Broken> {
    // Two notaries can each have left one that follows the same checkpoint; the later covers the other.
    while let Some(at) = ahead.iter().rposition(|found| found.signed.checkpoint.previous_hash == *link) {
        let found = ahead.remove(at);
        *link = found.signed.checkpoint.hash();
        ahead.retain(|other| other.signed.checkpoint.seq > found.signed.checkpoint.seq);
        taken.push(found);
    }
    match ahead.into_iter().next() {
        Some(found) => Err(Broken::OtherPrevious { place: found.place, seq: found.signed.checkpoint.seq }),
        None => Ok(()),
    }
}

async fn sign(
    signer: &impl Signer,
    options: &Options,
    chain: &Chain,
    position: &Position,
    last: Option<&SignedCheckpoint>,
) -> Result<SignedCheckpoint, NotaryError> {
    let checkpoint = Checkpoint {
        vault: position.vault,
        seq: chain.seq,
        head_hash: chain.hash,
        previous_hash: chain.link(last),
        at: UnixMicros::from(OffsetDateTime::now_utc()),
    };
    let unsigned = SignedCheckpoint { checkpoint, signing_key: String::new(), signature: Vec::new() };
    // Of a notary that was killed while this one ran: for one head, one signature.
    if let Some(found) = options.copy_for(position.vault, checkpoint.seq).await? {
        found.agrees_with(&unsigned)?;
        return Ok(found.signed);
    }
    let signature = signer.sign(&checkpoint.signed_bytes()).await?;
    let signed = SignedCheckpoint { checkpoint, signing_key: signature.key, signature: signature.signature };
    if let Some(key) = &options.public_key {
        signed.verify(key).map_err(|_| NotaryError::WrongKey)?;
    }
    Ok(signed)
}
