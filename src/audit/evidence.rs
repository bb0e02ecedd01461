//! What checkpoints say of the log: each signed head must be the head that the log had.

use std::path::PathBuf;

use super::copies::{Copies, CopiesError};
use super::finding::Broken;
use super::report::{Held, Report};
use crate::crypto::checkpoint::{Checkpoint, CheckpointKey, NO_CHECKPOINT, SignedCheckpoint};
use crate::crypto::restore::Restore;
use crate::domain::VaultId;

/// What an auditor has from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Trusted {
    /// Directories of copies of checkpoints.
    pub copies: Vec<PathBuf>,
    /// What signatures are verified with.
    pub public_key: Option<CheckpointKey>,
}

/// Checkpoints beside the log, entry by entry.
#[derive(Debug)]
pub(super) struct Evidence {
    key: Option<CheckpointKey>,
    copies: Copies,
    has_directory: bool,
    /// The entry that was last followed, and what was said of it.
    seq: i64,
    hash: [u8; 32],
    said: Vec<Said>,
    /// Signed heads that entries have not: faults, unless a later entry says that they were lost.
    other: Vec<(Said, Broken)>,
    /// Hashes of what was last said of an entry before; `None`: not known, as the log does not begin here.
    before: Option<Vec<[u8; 32]>>,
    /// The same of rows alone, of which none may be missing.
    row_before: Option<[u8; 32]>,
    seen: u64,
}

#[derive(Debug)]
struct Said {
    checkpoint: Checkpoint,
    place: String,
    is_row: bool,
}

impl Evidence {
    /// Lists the copies. Before the log is looked at: they are made after their entries are there.
    pub(super) fn of(trusted: Trusted) -> Result<Self, CopiesError> {
        Ok(Self {
            key: trusted.public_key,
            copies: Copies::list(&trusted.copies)?,
            has_directory: !trusted.copies.is_empty(),
            seq: 0,
            hash: [0; 32],
            said: Vec::new(),
            other: Vec::new(),
            before: Some(Vec::new()),
            row_before: Some(NO_CHECKPOINT),
            seen: 0,
        })
    }

    /// The log is from an entry on: what is said of earlier ones is not looked at, but of the one before it.
    pub(super) fn begin_after(&mut self, seq: i64, hash: [u8; 32], report: &mut Report) -> Result<(), CopiesError> {
        (self.before, self.row_before) = (None, None);
        while self.copies.next_through(seq - 1)?.is_some() {}
        self.entry(seq, hash, report)
    }

    /// The next entry that there is, and the hash that it has. Its row, if there is one, comes after it.
    pub(super) fn entry(&mut self, seq: i64, hash: [u8; 32], report: &mut Report) -> Result<(), CopiesError> {
        self.copies_through(seq.saturating_sub(1), report)?;
        self.leave(report);
        (self.seq, self.hash) = (seq, hash);
        self.copies_through(seq, report)
    }

    /// A row of the table.
    pub(super) fn row(&mut self, signed: &SignedCheckpoint, report: &mut Report) {
        let checkpoint = &signed.checkpoint;
        let expected = self.row_before.replace(checkpoint.hash());
        if expected.is_some_and(|expected| expected != checkpoint.previous_hash) {
            let what = "its row does not name the checkpoint before: one of them was changed, added or removed";
            report.add_at(checkpoint.seq, Some(row(checkpoint)), Broken::new("checkpoint_link", what));
        }
        self.judge(row(checkpoint), true, signed, report);
    }

    /// Whether the checkpoint that an entry names verifies, as far as there is a key.
    pub(super) fn names_what_is_signed(&self, restore: &Restore) -> bool {
        self.key.as_ref().is_none_or(|key| restore.verify(key).is_ok())
    }

    /// The entry that comes next says what was lost: what was signed of that is no fault of this log, and what is
    /// signed from here on follows it.
    pub(super) fn restored(&mut self, restore: &Restore, report: &mut Report) -> Result<(), CopiesError> {
        let Some(lost) = &restore.lost else { return Ok(()) };
        let named = lost.checkpoint.checkpoint;
        self.other.retain(|(Said { checkpoint, is_row, .. }, _)| {
            let contradicts = checkpoint.seq == named.seq && !checkpoint.says_the_same(&named);
            *is_row || contradicts || !restore.supersedes(checkpoint.seq)
        });
        self.leave(report);
        self.seen += 1;
        self.said.push(Said { checkpoint: named, place: format!("entry {}", restore.seq), is_row: false });
        while let Some((place, signed)) = self.next_copy(named.seq, report)? {
            self.seen += 1;
            if let Some(fault) = self.foreign(&signed, report.vault) {
                report.add_at(signed.checkpoint.seq, Some(place), fault);
                continue;
            }
            self.compare(&place, &signed.checkpoint, report);
            self.said.push(Said { checkpoint: signed.checkpoint, place, is_row: false });
        }
        self.said.clear();
        (self.before, self.row_before) = (Some(vec![named.hash()]), Some(named.hash()));
        Ok(())
    }

    /// The log ends here; `is_whole`: there were no more entries, as far as who exported it says.
    pub(super) fn end(&mut self, is_whole: bool, report: &mut Report) -> Result<(), CopiesError> {
        let last_of_log = if is_whole { self.seq } else { report.head.seq.max(self.seq) };
        self.leave(report);
        // Of a part, what is signed between its end and the log's cannot be compared.
        while !is_whole && self.copies.next_through(last_of_log)?.is_some() {}
        self.copies_through(i64::MAX, report)?;
        self.leave(report);
        for (said, fault) in self.other.drain(..) {
            report.add_at(said.checkpoint.seq, Some(said.place), fault);
        }
        report.sum_up(self.key.is_some(), self.has_directory, self.seen);
        Ok(())
    }

    fn copies_through(&mut self, seq: i64, report: &mut Report) -> Result<(), CopiesError> {
        while let Some((place, signed)) = self.next_copy(seq, report)? {
            self.judge(place, false, &signed, report);
        }
        Ok(())
    }

    /// Up to an entry, the next one that is one, and where it is.
    fn next_copy(&mut self, seq: i64, report: &mut Report) -> Result<Option<(String, SignedCheckpoint)>, CopiesError> {
        while let Some(copy) = self.copies.next_through(seq)? {
            if let Some(signed) = copy.signed {
                return Ok(Some((copy.place, signed)));
            }
            let what = "this file is no copy of a checkpoint for the entry that its name says";
            report.add_at(copy.seq, Some(copy.place), Broken::new("checkpoint_copy", what));
        }
        Ok(None)
    }

    fn judge(&mut self, place: String, is_row: bool, signed: &SignedCheckpoint, report: &mut Report) {
        let checkpoint = signed.checkpoint;
        self.seen += 1;
        if let Some(fault) = self.foreign(signed, report.vault) {
            report.add_at(checkpoint.seq, Some(place), fault);
            return;
        }
        let fault = self.fault(signed, report.head.seq);
        let holds = fault.is_none();
        match fault {
            Some(fault) if fault.word == "checkpoint_head" => {
                self.other.push((Said { checkpoint, place: place.clone(), is_row }, fault));
            }
            Some(fault) => report.add_at(checkpoint.seq, Some(place.clone()), fault),
            None => {}
        }
        // What is signed is known to be said, whether the log holds it or not.
        self.compare(&place, &checkpoint, report);
        if !is_row && !self.names_one_before(&checkpoint) {
            report.note("checkpoint_gap", Some(checkpoint.seq), GAP);
        }
        if holds && self.key.is_some() {
            report.hold(Held { seq: checkpoint.seq, at: checkpoint.at });
        }
        self.said.push(Said { checkpoint, place, is_row });
    }

    /// With what else is said of the same entry.
    fn compare(&self, place: &str, checkpoint: &Checkpoint, report: &mut Report) {
        let differs =
            |said: &&Said| said.checkpoint.seq == checkpoint.seq && !said.checkpoint.says_the_same(checkpoint);
        if let Some(other) = self.said.iter().find(differs) {
            let what = match other.checkpoint.head_hash == checkpoint.head_hash {
                true => format!("it names another checkpoint before it than {} does", other.place),
                false => format!("it is for another head than {} is: two heads for one entry", other.place),
            };
            report.add_at(checkpoint.seq, Some(place.to_owned()), Broken::new("checkpoint_conflict", what));
        }
    }

    /// Whether it is signed, for this log.
    fn foreign(&self, signed: &SignedCheckpoint, vault: VaultId) -> Option<Broken> {
        if signed.checkpoint.vault != vault {
            return Some(Broken::new("checkpoint_vault", "it is of another vault"));
        }
        let fails = self.key.as_ref().is_some_and(|key| signed.verify(key).is_err());
        fails.then(|| Broken::new("checkpoint_signature", "its signature does not verify under this public key"))
    }

    fn fault(&self, signed: &SignedCheckpoint, head: i64) -> Option<Broken> {
        let Checkpoint { seq, head_hash, .. } = signed.checkpoint;
        if seq > self.seq {
            let what = format!(
                "entry {seq} was signed at {}, and the log ends at {}: what came after was removed, or it was put back to \
                 an older state, or what is verified here was read before",
                signed.checkpoint.at,
                head.max(self.seq)
            );
            return Some(Broken::new("checkpoint_ahead", what));
        }
        if seq < self.seq {
            return Some(Broken::new("checkpoint_head", "this entry was signed, and is missing"));
        }
        let what = "this entry had another hash when it was signed: it, or what is before it, was made anew since";
        (head_hash != self.hash).then(|| Broken::new("checkpoint_head", what))
    }

    fn names_one_before(&self, checkpoint: &Checkpoint) -> bool {
        let Some(before) = &self.before else { return true };
        match before.is_empty() {
            true => checkpoint.previous_hash == NO_CHECKPOINT,
            false => before.contains(&checkpoint.previous_hash),
        }
    }

    /// All was heard that is said of this entry.
    fn leave(&mut self, report: &mut Report) {
        let (rows, copies): (Vec<_>, Vec<_>) = self.said.iter().partition(|said| said.is_row);
        if rows.is_empty() && !copies.is_empty() {
            report.note("checkpoint_unstored", Some(self.seq), UNSTORED);
        }
        if copies.is_empty() && !rows.is_empty() && self.has_directory {
            report.note("checkpoint_uncopied", Some(self.seq), UNCOPIED);
        }
        let hashes: Vec<_> = self.said.drain(..).map(|said| said.checkpoint.hash()).collect();
        if !hashes.is_empty() {
            self.before = Some(hashes);
        }
    }
}

const GAP: &str = "it names a checkpoint before it of which there is no copy: one was not written, or was removed";
const UNSTORED: &str =
    "there is a copy of this checkpoint and no row of it: a notary was killed, or the row was removed";
const UNCOPIED: &str = "there is a row of this checkpoint and no copy: a sink failed, or the copy was removed";

fn row(checkpoint: &Checkpoint) -> String {
    format!("checkpoints {}", checkpoint.seq)
}
