use std::time::Duration;

use super::Progress;
use super::error::{CutOverError, Refusal};
use super::trying::Trying;
use crate::db::rotation::token_key::cut_over::{SlotChange, holders};
use crate::db::{Connection, DbError};

/// The administrator's session, how long others may be in the way of each step, and who hears of them.
pub(super) struct Session<'a, T> {
    pub(super) conn: &'a mut Connection,
    pub(super) patience: Duration,
    pub(super) told: &'a T,
}

impl<T: Fn(Progress)> Session<'_, T> {
    /// Tries `step` with growing pauses, until it is done or patience is over, in a session that has the patience left.
    /// An error that does not pass ends it at once.
    pub(super) async fn until_done<R>(
        &mut self,
        mut step: impl AsyncFnMut(&mut Session<'_, T>) -> Result<R, CutOverError>,
    ) -> Result<R, CutOverError> {
        let mut trying = Trying::new(self.patience);
        loop {
            let mut session = Session { conn: self.conn, patience: trying.left(), told: self.told };
            let error = match step(&mut session).await {
                Err(error) if error.may_pass() => error,
                ended => return ended,
            };
            if !trying.again().await {
                return Err(error);
            }
            (self.told)(Progress::Waiting(error.holders()));
        }
    }

    /// The same of a change that is locked out while others have locks on `relations`; `what` says what they keep from
    /// being done.
    pub(super) async fn until_changed(
        &mut self,
        what: &'static str,
        relations: &[&str],
        mut change: impl AsyncFnMut(&mut Session<'_, T>) -> Result<SlotChange, CutOverError>,
    ) -> Result<(), CutOverError> {
        self.until_done(async |session| match change(session).await? {
            SlotChange::Done => Ok(()),
            SlotChange::LockedOut => Err(session.locked_out(what, relations).await?),
            other => Err(Refusal::Changed(other).into()),
        })
        .await
    }

    /// Who keeps `what` from being done by locks on `relations`.
    pub(super) async fn locked_out(&mut self, what: &'static str, relations: &[&str]) -> Result<CutOverError, DbError> {
        Ok(CutOverError::InTheWay { what, holders: holders(self.conn, relations).await? })
    }
}
