use std::fmt;

use crate::db::rotation::token_key::cut_over::{Holder, SlotChange, Unfilled};
use crate::db::{ConnectError, DbError};
use crate::domain::RotationStep;

/// A step was not done. Run it again to go on.
#[derive(Debug, thiserror::Error)]
pub enum CutOverError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A statement.
    #[error(transparent)]
    Db(#[from] DbError),
    /// What is asked for is refused as things stand.
    #[error("refused")]
    Refused(Refusal),
    /// Nothing says why it is to be rolled back.
    #[error("nothing says why")]
    NoReason,
    /// A statement failed, most often as it waited for others for too long; nobody was in the way at the time of
    /// asking.
    #[error(transparent)]
    Unexplained(DbError),
    /// Others were in the way for all the time that there was.
    #[error("{}", InTheWay(what, holders))]
    InTheWay {
        /// What they kept from being done.
        what: &'static str,
        /// Who; nobody where they had gone by the time of asking.
        holders: Vec<Holder>,
    },
}

impl From<Refusal> for CutOverError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl CutOverError {
    /// Whether it may be done at another try.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::InTheWay { .. } | Self::Unexplained(_))
    }

    pub(super) fn holders(self) -> Vec<Holder> {
        match self {
            Self::InTheWay { holders, .. } => holders,
            _ => Vec::new(),
        }
    }
}

/// Why.
#[derive(Debug)]
pub enum Refusal {
    /// No token-key rotation is under way.
    NoJob,
    /// The rotation is elsewhere.
    Step {
        /// Where.
        step: RotationStep,
        /// Whether it is rolled back.
        rolled_back: bool,
    },
    /// The login cannot replace the view.
    View,
    /// Rows lack the new tokens, and nobody set them aside.
    Unfilled(Unfilled),
    /// Rows lack the new tokens, as they do not open.
    SetAside(Unfilled),
    /// Rows do not open, and have tokens that stand in; a run before this one was told to accept that.
    Unopened(u64),
    /// Rows have old tokens that are not those of their values. The integrity of what is stored is broken.
    Mismatched(u64),
    /// Equal values have unequal tokens, or unequal ones equal. The integrity of what is stored is broken.
    Groups,
    /// Rows name a third key, or lack new tokens, and no run listed them. The integrity of what is stored is broken.
    Keys(u64),
    /// Somebody changed by hand what the rotation relies on.
    Changed(SlotChange),
}

struct InTheWay<'a>(&'a &'static str, &'a [Holder]);

impl fmt::Display for InTheWay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} was not possible while others were in the way; run it again, or with a longer --patience",
            self.0
        )?;
        for holder in self.1.iter().take(10) {
            write!(f, "\n  {}", Told(holder))?;
        }
        if self.1.len() > 10 {
            write!(f, "\n  and {} more", self.1.len() - 10)?;
        }
        Ok(())
    }
}

/// One that is in the way, in words.
pub(crate) struct Told<'a>(pub(crate) &'a Holder);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Holder { pid, prepared, who, what, seconds, .. } = self.0;
        match (pid, prepared) {
            (Some(pid), _) => write!(f, "pid {pid} ({who}) has {what}")?,
            // Escaped: it may have been chosen to drive a terminal.
            (None, Some(name)) => write!(f, "the prepared transaction {name:?} ({who}) has {what}")?,
            (None, None) => write!(f, "a prepared transaction ({who}) has {what}")?,
        }
        if let Some(seconds) = seconds {
            write!(f, ", since {seconds} s")?;
        }
        match prepared {
            Some(_) => write!(f, "; COMMIT PREPARED or ROLLBACK PREPARED ends it"),
            None => Ok(()),
        }
    }
}
