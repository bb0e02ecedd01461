use super::authorise::Receipt;
use super::open::{OpenedPage, OpenedRow, UnopenedRow};
use crate::db::receipts::{self, OpenFailure};
use crate::db::{DbError, Pool};

/// A page whose outcome is committed: what may be written.
pub(super) struct SettledPage(OpenedPage);

impl SettledPage {
    pub(super) fn last(&self) -> i32 {
        self.0.last
    }

    pub(super) fn rows(&self) -> &[OpenedRow] {
        &self.0.rows
    }

    pub(super) fn failed(&self) -> &[UnopenedRow] {
        &self.0.failed
    }
}

/// Commits what became of the page. Once and no more: where the answer is lost nothing of the page may be written, and
/// its plaintext goes with it.
pub(super) async fn settle(pool: &Pool, receipt: &Receipt, page: OpenedPage) -> Result<SettledPage, DbError> {
    let failed: Vec<(i32, OpenFailure)> = page.failed.iter().map(|row| (row.ordinal, row.failure)).collect();
    receipts::settle_unmask(&mut *pool.get().await?, receipt.id(), page.last, &failed).await?;
    Ok(SettledPage(page))
}
