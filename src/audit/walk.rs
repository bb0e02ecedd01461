use super::chain::Chain;
use super::error::VerifyError;
use super::evidence::Evidence;
use super::finding::Broken;
use super::replay::Replay;
use super::report::Report;
use crate::crypto::checkpoint::SignedCheckpoint;
use crate::crypto::restore::Restore;
use crate::db::audit_log::Head;
use crate::domain::audit::{Details, Entry, Restored};

/// What an entry is held to, one after the other.
pub(super) struct Walk {
    pub(super) report: Report,
    pub(super) chain: Chain,
    /// `None`: of a part, whose policies and grants came before it.
    pub(super) replay: Option<Replay>,
    pub(super) evidence: Evidence,
}

impl Walk {
    /// The next entry; its details, where they are of the form that they have.
    pub(super) fn entry(&mut self, entry: &Entry) -> Result<Option<Details>, VerifyError> {
        self.report.count(entry);
        let details = Details::of(entry);
        let restore = match &details {
            Ok(Details::Restored(restored)) => self.restore(entry, restored),
            _ => None,
        };
        self.report.add(entry.seq, self.chain.follow(entry, restore.as_ref()));
        if let Some(restore) = &restore {
            self.report.restored(entry, restore);
            self.evidence.restored(restore, &mut self.report)?;
        }
        self.evidence.entry(entry.seq, entry.hash, &mut self.report)?;
        match details {
            Ok(details) => {
                if let Some(replay) = &mut self.replay {
                    self.report.add(entry.seq, replay.follow(entry, &details));
                }
                Ok(Some(details))
            }
            Err(error) => {
                self.report.add(entry.seq, Err(Broken::new("details", error.to_string())));
                Ok(None)
            }
        }
    }

    /// What such an entry says, where it can be believed.
    fn restore(&mut self, entry: &Entry, restored: &Restored) -> Option<Restore> {
        let restore = match Restore::of(self.report.vault, entry.seq, restored) {
            Ok(restore) if restore.last == self.chain.seq() => restore,
            Ok(_) => {
                let what = "it says that it follows another entry than it does, where an older state was restored";
                self.report.add(entry.seq, Err(Broken::new("restored", what)));
                return None;
            }
            Err(error) => {
                self.report.add(entry.seq, Err(Broken::new("restored", error.to_string())));
                return None;
            }
        };
        match self.evidence.names_what_is_signed(&restore) {
            true => Some(restore),
            false => {
                let what = "it says that signed entries were lost, and the checkpoint that it names does not verify";
                self.report.add(entry.seq, Err(Broken::new("restored_checkpoint", what)));
                None
            }
        }
    }

    /// The stored checkpoint of the entry, or of one that is missing.
    pub(super) fn row(&mut self, signed: &SignedCheckpoint) {
        self.evidence.row(signed, &mut self.report);
    }

    /// The last entry should have been this one; `is_whole`: of the log.
    pub(super) fn end(mut self, last: Head, is_whole: bool, unchained: u64) -> Result<Report, VerifyError> {
        self.report.add(last.seq, self.chain.ends_at(last));
        self.evidence.end(is_whole, &mut self.report)?;
        self.report.conclude(self.replay.as_ref().and_then(Replay::unchecked_pattern), unchained);
        Ok(self.report)
    }
}
