use super::{ResumeError, WentOn};
use crate::crypto::checkpoint::SignedCheckpoint;
use crate::crypto::restore::Lost;
use crate::db::audit_log::{self, Filter, Head};
use crate::db::inspect::restored::signs;
use crate::db::{Connection, DbError, checkpoints, vault};
use crate::domain::VaultId;
use crate::notary::chain::Restores;
use crate::notary::copies::Found;
use crate::notary::error::{Broken, NotaryError};
use crate::notary::{Options, Sink};

/// The head of the log, and what was signed and is not in it.
pub(super) async fn compare(
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
