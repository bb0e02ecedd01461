use std::time::Duration;

use super::Progress;
use super::error::CutOverError;
use super::trying::Trying;
use crate::db::Connection;
use crate::db::rotation::cut_over::{snapshots, still_held};

/// Nobody has a snapshot any more, when it returns, that was taken before it was called.
///
/// A transaction with one older than the fill sees rows as they were, without new tokens; were the view to show those, it
/// would show it none.
pub(super) async fn await_older(
    conn: &mut Connection,
    patience: Duration,
    told: &impl Fn(Progress),
) -> Result<(), CutOverError> {
    let before = snapshots(conn).await?;
    let mut trying = Trying::new(patience);
    loop {
        let holders = still_held(conn, &before).await?;
        if holders.is_empty() {
            return Ok(());
        }
        if !trying.again().await {
            return Err(CutOverError::InTheWay { what: "to show the new tokens", holders });
        }
        told(Progress::Waiting(holders));
    }
}
