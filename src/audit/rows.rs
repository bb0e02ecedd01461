use std::iter::Peekable;
use std::vec::IntoIter;

use crate::crypto::checkpoint::SignedCheckpoint;
use crate::db::{Connection, DbError, checkpoints};
use crate::domain::VaultId;

/// Checkpoints in memory at a time.
const PAGE: u16 = 500;

/// The rows of `pii_vault.checkpoints`, in order, page by page.
pub(super) struct Rows {
    vault: VaultId,
    /// `None`: there are no more.
    after: Option<i64>,
    page: Peekable<IntoIter<SignedCheckpoint>>,
}

impl Rows {
    /// Those beyond an entry.
    pub(super) fn of(vault: VaultId, after: i64) -> Self {
        Self { vault, after: Some(after), page: Vec::new().into_iter().peekable() }
    }

    /// The next one, if it is for an entry up to `seq`.
    pub(super) async fn next_through(
        &mut self,
        conn: &mut Connection,
        seq: i64,
    ) -> Result<Option<SignedCheckpoint>, DbError> {
        if self.page.peek().is_none()
            && let Some(after) = self.after
        {
            let page = checkpoints::page(conn, self.vault, after, i64::MAX, PAGE).await?;
            self.after = page.last().map(|last| last.checkpoint.seq);
            self.page = page.into_iter().peekable();
        }
        Ok(self.page.next_if(|next| next.checkpoint.seq <= seq))
    }
}
