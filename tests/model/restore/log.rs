//! A database's log and checkpoints, with their true numbers and hashes.

use std::hash::{DefaultHasher, Hash, Hasher as _};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Checkpoint {
    pub(super) seq: u8,
    pub(super) head: u64,
    pub(super) previous: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum What {
    /// Told apart by a number that is never used twice.
    Anything(u8),
    Restored {
        last: u8,
        after: u8,
        lost: Checkpoint,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Database {
    pub(super) log: Vec<(u8, What)>,
    pub(super) rows: Vec<Checkpoint>,
}

impl Database {
    pub(super) fn head(&self) -> u8 {
        self.log.last().map_or(0, |(seq, _)| *seq)
    }

    /// Of the entry of this number, and all before.
    pub(super) fn hash_at(&self, seq: u8) -> Option<u64> {
        let place = self.log.iter().position(|(number, _)| *number == seq)?;
        Some(hash_of(&self.log[..=place]))
    }

    /// The last restore beyond a number, up to another.
    pub(super) fn lost(&self, after: u8, through: u8) -> Option<Checkpoint> {
        self.log.iter().rev().find_map(|(seq, what)| match what {
            What::Restored { lost, .. } if after < *seq && *seq <= through => Some(*lost),
            _ => None,
        })
    }

    pub(super) fn supersedes(&self, seq: u8) -> bool {
        self.log
            .iter()
            .any(|(_, what)| matches!(what, What::Restored { after, lost, .. } if *after < seq && seq <= lost.seq))
    }
}

pub(super) fn hash_of(what: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
