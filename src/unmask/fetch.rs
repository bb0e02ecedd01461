use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::authorise::Receipt;
use super::error::{UnmaskError, may_pass};
use crate::db::receipts::{self, PAGE, SealedRow};
use crate::db::{DbError, Pool};
use crate::domain::AccessRefusal;
use crate::patience::Patience;

/// How long the disk may take to get to the record: milliseconds, where it is well.
const SETTLING: Duration = Duration::from_secs(2);

/// Sealed rows of a receipt's list, from its ordinal `after` + 1 to `last`. What is missing was deleted.
pub(super) struct SealedPage {
    after: i32,
    last: i32,
    rows: Vec<SealedRow>,
}

pub(super) enum Fetched {
    Page(SealedPage),
    Refused(AccessRefusal),
}

impl SealedPage {
    pub(super) fn last(&self) -> i32 {
        self.last
    }

    pub(super) fn rows(&self) -> &[SealedRow] {
        &self.rows
    }

    /// The ordinals at which there is no row any more.
    pub(super) fn deleted(&self) -> impl Iterator<Item = i32> {
        let mut rows = self.rows.iter().peekable();
        (self.after + 1..=self.last).filter(move |ordinal| rows.next_if(|row| row.ordinal == *ordinal).is_none())
    }
}

/// The next page of the receipt's list.
pub(super) async fn fetch(
    pool: &Pool,
    patience: Patience,
    stop: &CancellationToken,
    receipt: &Receipt,
    after: i32,
) -> Result<Fetched, UnmaskError> {
    let began = Instant::now();
    loop {
        let fetch = || async { receipts::fetch_unmask(&mut *pool.get().await?, receipt.id(), after).await };
        let wait = |error: &DbError| may_pass(error) && !stop.is_cancelled();
        match patience.wait_out(wait, || (), fetch).await {
            Ok(rows) => {
                let last = after.saturating_add(PAGE).min(receipt.rows());
                return Ok(Fetched::Page(SealedPage { after, last, rows }));
            }
            Err(error) => match error.refusal() {
                Some(AccessRefusal::NotDurable | AccessRefusal::NoCheckpoint)
                    if began.elapsed() < SETTLING && !stop.is_cancelled() =>
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Some(refusal) => return Ok(Fetched::Refused(refusal)),
                None => return Err(error.into()),
            },
        }
    }
}
