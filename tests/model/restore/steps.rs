//! What the notary, `audit resume` and `audit verify` do.

use super::log::{Checkpoint, Database, What, hash_of};
use super::{Flaw, Notary, Restoring, State};

impl Restoring {
    pub(super) fn has(&self, flaw: Flaw) -> bool {
        self.0 == Some(flaw)
    }

    /// What the next checkpoint of this database names, for an entry up to `seq`.
    pub(super) fn link(&self, database: &Database, seq: u8) -> u64 {
        let last = database.rows.last();
        let own = || last.map_or(0, hash_of);
        match database.lost(last.map_or(0, |last| last.seq), seq) {
            Some(lost) if !self.has(Flaw::FollowsOwnRow) => hash_of(&lost),
            _ => own(),
        }
    }

    /// Compares the copies, takes over what was left behind, and signs the head.
    pub(super) fn sign(&self, state: &mut State, notary: usize) {
        let database = &mut state.database;
        let last = database.rows.last().copied();
        for (seq, copy) in state.copies.range(last.map_or(1, |last| last.seq)..) {
            if database.supersedes(*seq) {
                continue;
            }
            if database.hash_at(*seq) != Some(copy.head) {
                state.notaries[notary] = Notary::Stopped;
                return;
            }
            if last.is_none_or(|last| last.seq < *seq) {
                if copy.previous != self.link(database, *seq) {
                    state.notaries[notary] = Notary::Stopped;
                    return;
                }
                database.rows.push(*copy);
            }
        }
        let seq = database.head();
        if database.rows.last().is_none_or(|last| last.seq < seq)
            && let Some(head) = database.hash_at(seq)
        {
            let checkpoint = Checkpoint { seq, head, previous: self.link(database, seq) };
            state.notaries[notary] = Notary::Signed(checkpoint);
        }
    }

    /// The entry that would be recorded; `None`: nothing that was signed is lost.
    pub(super) fn resume(&self, state: &State) -> Option<(u8, What)> {
        let database = &state.database;
        let own = database.rows.last().copied();
        let (mut agrees, mut differs) = (own.map_or(0, |last| last.seq), false);
        let mut newest = None;
        for (seq, copy) in state.copies.range(agrees.max(1)..) {
            if database.supersedes(*seq) {
                continue;
            }
            if database.hash_at(*seq) == Some(copy.head) {
                agrees = *seq;
            } else {
                differs |= *seq <= database.head() && !self.has(Flaw::WentOnUnnoticed);
                newest = Some(*copy);
            }
        }
        let mut lost = newest?;
        if self.has(Flaw::OwnCheckpointNamed) {
            lost = own?;
        }
        let last = database.head();
        let seq = if self.has(Flaw::NumbersGivenAgain) { last } else { last.max(lost.seq) } + 1;
        Some((seq, What::Restored { last, after: if differs { agrees } else { last }, lost }))
    }

    /// As `audit verify` does, with all copies.
    pub(super) fn verifies(&self, state: &State) -> bool {
        let database = &state.database;
        let mut before = 0;
        let chained = database.log.iter().all(|(seq, what)| {
            let expected = match what {
                What::Restored { last, lost, .. } if *last == before => before.max(lost.seq) + 1,
                What::Restored { .. } => return false,
                What::Anything(_) => before + 1,
            };
            before = *seq;
            *seq == expected
        });
        let copied = state
            .copies
            .iter()
            .all(|(seq, copy)| database.supersedes(*seq) || database.hash_at(*seq) == Some(copy.head));
        let mut last = None::<Checkpoint>;
        let linked = database.rows.iter().all(|row| {
            let lost = database.lost(last.map_or(0, |last| last.seq), row.seq);
            let link = lost.or(last).map_or(0, |before| hash_of(&before));
            last = Some(*row);
            row.previous == link && database.hash_at(row.seq) == Some(row.head)
        });
        chained && copied && linked
    }
}
