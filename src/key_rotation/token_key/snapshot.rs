use super::Progress;
use super::error::CutOverError;
use super::session::Session;
use crate::db::rotation::token_key::cut_over::{snapshots, still_held};

/// Nobody has a snapshot any more, when it returns, that was taken before it was called.
///
/// A transaction with one older than the fill sees rows as they were, without new tokens; were the view to show those,
/// it would show it none.
pub(super) async fn await_older<T: Fn(Progress)>(session: &mut Session<'_, T>) -> Result<(), CutOverError> {
    let before = snapshots(session.conn).await?;
    session
        .until_done(async |session| match still_held(session.conn, &before).await? {
            holders if holders.is_empty() => Ok(()),
            holders => Err(CutOverError::InTheWay { what: "to show the new tokens", holders }),
        })
        .await
}
