//! Originals of a case, for who may have them: authorise + record → be covered by a checkpoint → fetch → open → settle
//! → release, page by page.
//!
//! Guaranteed: nothing is fetched before a committed record names who reads which rows and why, and, where policy asks
//! for checkpoints, before one covers it, which verifies where there is a key for that; each page's outcome is
//! committed before a byte of its plaintext is written, and where that is not known none is; keys are unwrapped anew
//! for each receipt, used only if they are what was committed to, and wiped at its end; memory holds one page, of 500
//! rows. The steps show in types: rows come of a `authorise::Receipt` alone, `release` takes a settled page alone,
//! and is the one that writes plaintext.
//! Not guaranteed: that what was charged is opened; that a row that was recorded as opened was read by anybody; that
//! the head which a checkpoint signs holds the record. Who opens cannot read the log, so the number of the entry alone
//! is compared, as the database tells it; `audit verify` finds what was altered.

mod authorise;
mod cover;
mod error;
mod fetch;
mod open;
mod release;
mod report;
mod settle;

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, instrument, warn};
use uuid::Uuid;

pub use error::UnmaskError;
pub use release::{Format, Release};
pub use report::{Failed, Last, Report};

use crate::aws::KeyWrapper;
use crate::crypto::checkpoint::CheckpointKey;
use crate::db::Pool;
use crate::db::receipts::{self, UnmaskRequest};
use crate::domain::AccessRefusal;
use crate::patience::Patience;
use authorise::{Authorised, Receipt};
use cover::Covered;
use fetch::Fetched;
use open::Opening;

/// How a run ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All rows of the list have an outcome; of a dry run: it was allowed.
    Complete,
    /// It was told to stop. The page in hand was released.
    Stopped,
    /// It was not allowed: nothing is charged.
    Refused(AccessRefusal),
    /// It was allowed, and was refused on the way. What was released before stays so.
    CutOff(AccessRefusal),
}

/// Opens what `request` names and writes it to `release`; a dry run asks only.
///
/// `key` verifies the checkpoint that covers the receipt. `pool` is under the role `pii_vault_unmask`; `wrapper` makes
/// a client of KMS for the receipt. KMS and PostgreSQL may be away for `patience`. `report` is up to date after each
/// page and when it ends, however it ends; `progress` is called after each page.
///
/// # Errors
/// [`UnmaskError`]. Nothing of the page in hand was released, unless it was the writing that failed.
#[expect(clippy::too_many_arguments, reason = "each is another end of the pipeline")]
#[instrument(name = "unmask", skip_all)]
pub async fn run<W: KeyWrapper>(
    pool: &Pool,
    wrapper: impl FnOnce(Uuid) -> W,
    request: &UnmaskRequest,
    key: Option<&CheckpointKey>,
    patience: Duration,
    release: &mut Release,
    report: &mut Report,
    stop: &CancellationToken,
    mut progress: impl FnMut(&Report),
) -> Result<Ending, UnmaskError> {
    let patience = Patience(patience);
    let receipt = match authorise::authorise(pool, patience, request, report).await? {
        Authorised::Receipt(receipt) => receipt,
        Authorised::DryRun => return Ok(Ending::Complete),
        Authorised::Refused(refusal) => return Ok(Ending::Refused(refusal)),
    };
    if receipt.rows() > 0 {
        match cover::cover(pool, patience, stop, &receipt, key).await? {
            Covered::Yes => {}
            Covered::No => return Ok(Ending::CutOff(tell(pool, &receipt, AccessRefusal::NoCheckpoint).await)),
            Covered::Stopped => return Ok(Ending::Stopped),
        }
    }
    let mut opening = Opening::new(&receipt, wrapper(receipt.id()));
    let mut after = 0;
    while after < receipt.rows() {
        if stop.is_cancelled() {
            return Ok(Ending::Stopped);
        }
        let sealed = match fetch::fetch(pool, patience, stop, &receipt, after).await? {
            Fetched::Page(page) => page,
            Fetched::Refused(refusal) => return Ok(Ending::CutOff(tell(pool, &receipt, refusal).await)),
        };
        let opened = opening.open(patience, stop, &sealed).await?;
        let settled = settle::settle(pool, &receipt, opened).await?;
        debug!(receipt = %receipt.id(), last = settled.last(), "settled");
        after = settled.last();
        report.settled(&settled);
        report.released(release.page(settled)?);
        progress(report);
    }
    release.finish()?;
    Ok(Ending::Complete)
}

/// Notes the refusal in the audit log: nothing was handed out, with or without the note.
async fn tell(pool: &Pool, receipt: &Receipt, refusal: AccessRefusal) -> AccessRefusal {
    let recorded = async { receipts::record_refusal(&mut *pool.get().await?, receipt.id()).await };
    match recorded.await {
        Ok(now) => now.unwrap_or(refusal),
        Err(error) => {
            warn!(%error, "the refusal is not in the audit log");
            refusal
        }
    }
}
