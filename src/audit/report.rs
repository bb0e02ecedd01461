use std::borrow::Cow;
use std::collections::HashSet;

use super::finding::{Broken, Finding, Note};
use crate::crypto::restore::Restore;
use crate::db::audit_log::Head;
use crate::db::audit_tables::{Difference, Mismatch, Table};
use crate::db::inspect::restored::Signs;
use crate::domain::VaultId;
use crate::domain::audit::{Action, Entry, UnixMicros};

/// What a verification found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Whose log.
    pub vault: VaultId,
    /// How many entries there are.
    pub entries: i64,
    /// What the head row says.
    pub head: Head,
    /// When the first entry was recorded, and the last.
    pub span: Option<(UnixMicros, UnixMicros)>,
    /// What is wrong, the first of each kind; none: nothing that this verification can see.
    pub findings: Vec<Finding>,
    /// What is no fault.
    pub notes: Vec<Note>,
    /// The last entry that a signature was verified for; `None`: none was, or there was no key to verify with.
    pub held: Option<Held>,
    /// The entries that were looked at, where they are not all.
    pub part: Option<(i64, i64)>,
    /// After how many entries the last signature comes.
    pub unsigned: i64,
    /// Where an older state was brought back into service.
    restores: Vec<Restore>,
    known: HashSet<String>,
}

/// A signed head that the log has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its entry.
    pub seq: i64,
    /// When it was signed, by the clock of who signed it.
    pub at: UnixMicros,
}

impl Report {
    pub(super) fn of(vault: VaultId, head: Head) -> Self {
        Self {
            vault,
            entries: 0,
            head,
            span: None,
            findings: Vec::new(),
            notes: Vec::new(),
            held: None,
            part: None,
            unsigned: 0,
            restores: Vec::new(),
            known: HashSet::new(),
        }
    }

    /// One that nothing was found by, where a test needs one.
    #[cfg(test)]
    pub(crate) fn empty(vault: VaultId, head: Head) -> Self {
        Self::of(vault, head)
    }

    pub(super) fn count(&mut self, entry: &Entry) {
        self.entries += 1;
        if let Action::Other(_) = entry.action {
            self.note("unknown_action", Some(entry.seq), UNKNOWN_ACTION);
        }
        let (first, last) = self.span.unwrap_or((entry.at, entry.at));
        if entry.at < last {
            self.note("clock", Some(entry.seq), CLOCK);
        }
        self.span = Some((first, entry.at));
    }

    pub(super) fn add(&mut self, seq: i64, outcome: Result<(), Broken>) {
        if let Err(Broken { word, what }) = outcome {
            self.push(Finding { word: word.to_owned(), seq: Some(seq), row: None, what });
        }
    }

    /// A fault of a row or a file that is about an entry.
    pub(super) fn add_at(&mut self, seq: i64, row: Option<String>, Broken { word, what }: Broken) {
        self.push(Finding { word: word.to_owned(), seq: Some(seq), row, what });
    }

    pub(super) fn hold(&mut self, held: Held) {
        if self.held.is_none_or(|last| last.seq <= held.seq) {
            self.held = Some(held);
        }
    }

    /// What follows from the checkpoints, `seen` of them.
    pub(super) fn sum_up(&mut self, has_key: bool, has_directory: bool, seen: u64) {
        let last = self.part.map_or(self.head.seq, |(_, last)| last);
        let first_unsigned = self.held.map_or(1, |held| held.seq + 1).max(self.part.map_or(1, |(first, _)| first));
        if !has_key {
            if seen > 0 {
                self.note_many("signatures", None, seen, SIGNATURES);
            }
            return;
        }
        let since = self.restores.iter().filter(|restore| restore.seq >= first_unsigned);
        let passed_over = since.map(Restore::passed_over).fold(0, i64::saturating_add);
        self.unsigned = (last - first_unsigned).saturating_add(1).saturating_sub(passed_over).max(0);
        if self.unsigned == 0 {
            return;
        }
        // Who removes all checkpoints must not be told that all is well.
        if self.held.is_none() && has_directory && self.part.is_none() {
            return self.add(first_unsigned, Err(Broken::new("no_checkpoint", NO_CHECKPOINT)));
        }
        self.note_many("unsigned", Some(first_unsigned), self.unsigned.unsigned_abs(), UNSIGNED);
    }

    pub(super) fn add_mismatch(&mut self, table: Table, mismatch: Mismatch) {
        let name = table.name();
        let (word, what) = match (table, mismatch.difference) {
            (Table::ReceiptRows, _) => ("not_logged", "it lists rows for a receipt that was not allowed any"),
            (Table::Requests, Difference::NotLogged) => ("not_logged", "nobody asked for this grant, says the log"),
            (Table::Decisions, Difference::NotLogged) => {
                ("not_logged", "nobody decided so on this request, says the log")
            }
            (_, Difference::NotLogged) => ("not_logged", "no entry of the log speaks of this row"),
            (_, Difference::Gone) => ("gone", "the log speaks of this row, and it is gone"),
            (_, Difference::Differs) => ("differs", "this row says something else than its entry in the log"),
        };
        self.push(Finding {
            word: format!("{name}_{word}"),
            seq: mismatch.seq,
            row: Some(format!("{name} {}", mismatch.row)),
            what: what.to_owned(),
        });
    }

    /// Such an entry fits: what it says is lost is no fault, and is said for ever.
    pub(super) fn restored(&mut self, entry: &Entry, restore: &Restore) {
        let said = entry.reason.as_deref().unwrap_or("no reason");
        let by = format!("as {} recorded in entry {}: {said}", entry.origin.actor, entry.seq);
        let (word, seq, what) = match &restore.lost {
            None => ("resumed", entry.seq, format!("a dump was restored, and nothing that was signed was lost, {by}")),
            Some(lost) => {
                let (after, through) = (lost.after, lost.checkpoint.checkpoint.seq);
                let own = match after < restore.last {
                    true => format!("; entries {} to {} are of after that", after.saturating_add(1), restore.last),
                    false => String::new(),
                };
                let what = format!(
                    "what was signed after entry {after}, up to entry {through}, was lost in a restore{own}, {by}"
                );
                ("lost", after.saturating_add(1), what)
            }
        };
        self.notes.push(Note { word, seq: Some(seq), count: 1, what: what.into() });
        self.restores.push(restore.clone());
    }

    /// That a dump was restored is no fault by itself. A checkpoint beyond the log was found already, as a row.
    pub(super) fn add_signs(&mut self, signs: Signs) {
        if signs.from_the_future > 0 {
            self.note("restored", None, RESTORED);
        }
    }

    /// In the order of the log; rows without an entry last.
    pub(super) fn conclude(&mut self, unchecked_pattern: Option<i64>, unchained_revocations: u64) {
        if let Some(seq) = unchecked_pattern {
            self.note("case_pattern", Some(seq), CASE_PATTERN);
        }
        for _ in 0..unchained_revocations {
            self.note("revocation", None, REVOCATION);
        }
        self.findings.sort_by_key(|finding| finding.seq.unwrap_or(i64::MAX));
    }

    fn push(&mut self, finding: Finding) {
        if self.known.insert(finding.word.clone()) {
            self.findings.push(finding);
        }
    }

    pub(super) fn note(&mut self, word: &'static str, seq: Option<i64>, what: &'static str) {
        self.note_many(word, seq, 1, what);
    }

    fn note_many(&mut self, word: &'static str, seq: Option<i64>, count: u64, what: &'static str) {
        match self.notes.iter_mut().find(|note| note.word == word) {
            Some(note) => note.count += count,
            None => self.notes.push(Note { word, seq, count, what: Cow::Borrowed(what) }),
        }
    }
}

const UNKNOWN_ACTION: &str = "an action that this version does not know: its hash was checked, and nothing else";
const CLOCK: &str = "it was recorded at an earlier time than the entry before: the server's clock was set back";
const CASE_PATTERN: &str =
    "cases were not compared with the pattern of this policy, which not every program reads alike";
const RESTORED: &str = "receipts are of transactions that this PostgreSQL server has not come to yet: a dump of another one was \
                        restored. `pii-vault audit resume` compares it with the copies of checkpoints outside";
const REVOCATION: &str = "a revocation is in force, and the next who records something adds it to the log";
const SIGNATURES: &str = "signatures were not verified, as no public key was given";
const NO_CHECKPOINT: &str = "no checkpoint of this log verifies: nothing shows that it was not made anew";
const UNSIGNED: &str = "after the last signature: nothing shows yet that these were not made anew";
