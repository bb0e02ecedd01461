//! An older state of the log that was brought back into service: what the entry which records it says of the numbers
//! and the checkpoints around it.
//!
//! `keys/FORMAT.md`, section "A log that was restored", is its page.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::checkpoint::{Checkpoint, CheckpointKey, NotSigned, SignedCheckpoint};
use super::hex::of_hex;
use crate::domain::VaultId;
use crate::domain::audit::{LostCheckpoint, Restored, UnixMicros};

/// An entry of the action `restored`. Whoever owns the database can record one: what it says of what is lost is
/// believed only where the checkpoint that it names is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    /// Its number.
    pub seq: i64,
    /// The entry before, whose hash it follows.
    pub last: i64,
    /// What of the signed log is lost.
    pub lost: Option<Lost>,
}

/// Entries that were signed, and are not those of this log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The last one before them.
    pub after: i64,
    /// For the last of them. The next checkpoint of this log follows it.
    pub checkpoint: SignedCheckpoint,
}

/// The entry says what cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Its numbers do not fit together.
    #[error("the numbers that it says are lost are not those between the entry before and itself")]
    Bounds,
    /// It names none.
    #[error("what it names is no checkpoint")]
    Checkpoint,
}

impl Restore {
    /// Of an entry's number and details.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn of(vault: VaultId, seq: i64, details: &Restored) -> Result<Self, RestoreError> {
        let last = details.last;
        let lost = match (details.lost_after, &details.checkpoint) {
            (None, None) => None,
            (Some(after), Some(named)) => Some(Lost { after, checkpoint: checkpoint(vault, named)? }),
            _ => return Err(RestoreError::Bounds),
        };
        let before = lost.as_ref().map_or(last, |lost| lost.checkpoint.checkpoint.seq.max(last));
        let lies_there = lost
            .as_ref()
            .is_none_or(|lost| (0..=last).contains(&lost.after) && lost.checkpoint.checkpoint.seq > lost.after);
        match last >= 0 && lies_there && before.checked_add(1) == Some(seq) {
            true => Ok(Self { seq, last, lost }),
            false => Err(RestoreError::Bounds),
        }
    }

    /// How many numbers this log has no entries for.
    #[must_use]
    pub fn passed_over(&self) -> i64 {
        self.seq.saturating_sub(self.last).saturating_sub(1)
    }

    /// Whether what was signed for this number was signed of the log that is lost.
    #[must_use]
    pub fn supersedes(&self, seq: i64) -> bool {
        self.lost.as_ref().is_some_and(|lost| lost.after < seq && seq <= lost.checkpoint.checkpoint.seq)
    }

    /// Whether the checkpoint that it names, if it does, is signed.
    ///
    /// # Errors
    /// [`NotSigned`].
    pub fn verify(&self, key: &CheckpointKey) -> Result<(), NotSigned> {
        self.lost.as_ref().map_or(Ok(()), |lost| lost.checkpoint.verify(key))
    }

    /// What the next checkpoint names as the one before it, where that is not the last one of this log.
    #[must_use]
    pub fn link(&self) -> Option<[u8; 32]> {
        self.lost.as_ref().map(|lost| lost.checkpoint.checkpoint.hash())
    }
}

fn checkpoint(vault: VaultId, named: &LostCheckpoint) -> Result<SignedCheckpoint, RestoreError> {
    let hash = |text: &str| of_hex(text).ok_or(RestoreError::Checkpoint);
    let checkpoint = Checkpoint {
        vault,
        seq: named.seq,
        head_hash: hash(&named.head_hash)?,
        previous_hash: hash(&named.previous_hash)?,
        at: UnixMicros(named.at),
    };
    let signature = STANDARD.decode(&named.signature).map_err(|_| RestoreError::Checkpoint)?;
    match (8..=72).contains(&signature.len()) && !named.signing_key.is_empty() && named.seq > 0 {
        true => Ok(SignedCheckpoint { checkpoint, signing_key: named.signing_key.clone(), signature }),
        false => Err(RestoreError::Checkpoint),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn restored(last: i64, lost_after: Option<i64>, seq: Option<i64>) -> Restored {
        let checkpoint = seq.map(|seq| LostCheckpoint {
            seq,
            head_hash: "ab".repeat(32),
            previous_hash: "00".repeat(32),
            at: 7,
            signing_key: "key".to_owned(),
            signature: STANDARD.encode([1; 70]),
        });
        Restored { last, lost_after, checkpoint, closed_receipts: 0, closed_redrive_jobs: 0 }
    }

    #[test]
    fn only_what_fits_between_its_neighbours_is_taken() {
        let of = |seq, last, lost_after, lost| {
            Restore::of(VaultId(Uuid::nil()), seq, &restored(last, lost_after, lost))
                .map(|restore| restore.passed_over())
        };
        assert_eq!(of(11, 10, None, None), Ok(0));
        assert_eq!(of(21, 10, Some(10), Some(20)), Ok(10));
        assert_eq!(of(21, 0, Some(0), Some(20)), Ok(20));
        // It had gone on before it was noticed: beyond what was signed, or not so far.
        assert_eq!(of(31, 30, Some(10), Some(20)), Ok(0));
        assert_eq!(of(21, 15, Some(10), Some(20)), Ok(5));
        for (seq, last, lost_after, lost) in [
            (12, 10, None, None),
            (20, 10, Some(10), Some(20)),
            (22, 10, Some(10), Some(20)),
            (21, 10, Some(11), Some(20)),
            (21, 10, Some(-1), Some(20)),
            (21, 20, Some(20), Some(20)),
            (21, 10, None, Some(20)),
            (11, 10, Some(10), None),
            (i64::MIN, i64::MAX, None, None),
            (1, -1, None, None),
        ] {
            assert_eq!(
                of(seq, last, lost_after, lost),
                Err(RestoreError::Bounds),
                "{seq} {last} {lost_after:?} {lost:?}"
            );
        }
    }

    #[test]
    fn what_was_signed_of_the_lost_log_is_superseded_and_no_more() {
        let restore = Restore::of(VaultId(Uuid::nil()), 21, &restored(15, Some(10), Some(20))).unwrap();
        let superseded: Vec<_> = (0..30).filter(|seq| restore.supersedes(*seq)).collect();
        assert_eq!(superseded, (11..=20).collect::<Vec<_>>());
        let without = Restore::of(VaultId(Uuid::nil()), 16, &restored(15, None, None)).unwrap();
        assert!(!(0..30).any(|seq| without.supersedes(seq)) && without.link().is_none());
    }
}
