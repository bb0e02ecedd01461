//! The tokens of a new key take the place of the old ones: statements of the administrator, under the owner's role.
//!
//! Each can be repeated; what is done already is done. [`SlotChange::LockedOut`] means that nothing was changed, and
//! that trying again helps.

mod checks;
mod in_the_way;
mod indexes;
mod places;

pub use checks::{
    Unfilled, fill_again, fill_unopened, keep_filled, let_unfilled, may_replace_view, unfilled, verify_filled,
};
pub use in_the_way::{Holder, Snapshots, holders, snapshots, still_held};
pub use indexes::{IndexStep, give_turn, next_index, run_index, take_turn, turn_holders};
pub use places::{cut_over, empty, finish, release_slot, roll_back};

use crate::db::enums::sql_enum;

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotChange {
    /// It is done, now or since before.
    Done,
    /// Another session was in the way.
    LockedOut,
    /// There is no such job.
    NoJob,
    /// The job is not where this follows.
    OtherStep,
    /// Rows lack the slot, or nothing keeps them from lacking it.
    NotFilled,
    /// The slot has no whole index.
    NotIndexed,
    /// The view does not show the slot that it is to show.
    ViewShowsOther,
    /// The token keys are not in the states that the job left them in.
    OtherKeys,
}

impl SlotChange {
    const ALL: [Self; 8] = [
        Self::Done,
        Self::LockedOut,
        Self::NoJob,
        Self::OtherStep,
        Self::NotFilled,
        Self::NotIndexed,
        Self::ViewShowsOther,
        Self::OtherKeys,
    ];

    /// The word in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::LockedOut => "locked_out",
            Self::NoJob => "no_job",
            Self::OtherStep => "other_step",
            Self::NotFilled => "not_filled",
            Self::NotIndexed => "not_indexed",
            Self::ViewShowsOther => "view_shows_other",
            Self::OtherKeys => "other_keys",
        }
    }
}

sql_enum!(SlotChange = SlotChange, SlotChangeProxy, SlotChange::name);
