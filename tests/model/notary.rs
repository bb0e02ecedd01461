//! What the notary does: one transaction that holds the lock on `checkpoints`, and copies that outlive it.

use super::flaw::Flaw;
use super::protocol::Vault;
use super::state::{Notary, State};

impl Vault {
    /// The last checkpoint, the newest copy, and the head of the log.
    pub(crate) fn read_head(&self, state: &mut State, notary: usize) {
        // At each turn: the copy may be of another notary, or of this one before it lost its connection.
        let compares = !(self.has(Flaw::CopiesComparedAtStartOnly) && state.compared[notary]);
        state.compared[notary] = self.has(Flaw::CopiesComparedAtStartOnly);
        let after = state.signed_row;
        state.notaries[notary] = if compares && state.copied > after {
            let borne_out = state.copied <= state.head && (state.lost == 0 || state.copied < state.lost);
            if borne_out { Notary::Adopting { at: state.copied } } else { Notary::Stopped }
        } else if state.head > after {
            Notary::Read { at: state.head, after }
        } else {
            Notary::Idle
        };
    }
}

impl State {
    pub(crate) fn sign(&mut self, notary: usize) {
        if let Notary::Read { at, after } = self.notaries[notary] {
            // A head stands for every entry up to it.
            self.seen.two_heads |= self.lost > 0 && at >= self.lost;
            self.signed = self.signed.max(at);
            self.notaries[notary] = Notary::Signed { at, after };
        }
    }

    /// A file of its own, never overwritten, in each sink.
    pub(crate) fn copy(&mut self, notary: usize) {
        if let Notary::Signed { at, after } | Notary::Stored { at, after } = self.notaries[notary] {
            self.seen.forked |= after != self.copied || at <= self.copied;
            self.copied = self.copied.max(at);
            self.notaries[notary] = match self.notaries[notary] {
                Notary::Stored { .. } => Notary::Idle,
                _ => Notary::Copied { at },
            };
        }
    }

    /// The row, and its commit, which waits for the disk.
    pub(crate) fn store_row(&mut self, notary: usize) {
        self.notaries[notary] = match self.notaries[notary] {
            Notary::Copied { at } | Notary::Adopting { at } => {
                self.signed_row = self.signed_row.max(at);
                Notary::Idle
            }
            Notary::Signed { at, after } => {
                self.signed_row = self.signed_row.max(at);
                Notary::Stored { at, after }
            }
            other => other,
        };
        self.flush();
    }
}
