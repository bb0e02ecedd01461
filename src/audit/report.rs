use std::collections::HashSet;

use super::finding::{Broken, Finding, Note};
use crate::db::audit_log::Head;
use crate::db::audit_tables::{Difference, Mismatch, Table};
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
    known: HashSet<String>,
}

impl Report {
    pub(super) fn of(vault: VaultId, head: Head) -> Self {
        Self { vault, entries: 0, head, span: None, findings: Vec::new(), notes: Vec::new(), known: HashSet::new() }
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

    fn note(&mut self, word: &'static str, seq: Option<i64>, what: &'static str) {
        match self.notes.iter_mut().find(|note| note.word == word) {
            Some(note) => note.count += 1,
            None => self.notes.push(Note { word, seq, count: 1, what }),
        }
    }
}

const UNKNOWN_ACTION: &str = "an action that this version does not know: its hash was checked, and nothing else";
const CLOCK: &str = "it was recorded at an earlier time than the entry before: the server's clock was set back";
const CASE_PATTERN: &str =
    "cases were not compared with the pattern of this policy, which not every program reads alike";
const REVOCATION: &str = "a revocation is in force, and the next who records something adds it to the log";
