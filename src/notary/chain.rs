//! The audit log from the last checkpoint on, read and hashed anew; and what of it was restored.

use super::error::{Broken, NotaryError};
use crate::crypto::audit_chain::{NO_ENTRY, entry_hash};
use crate::crypto::checkpoint::{CheckpointKey, NO_CHECKPOINT, SignedCheckpoint};
use crate::crypto::restore::{Lost, Restore};
use crate::db::checkpoints::{self, Position};
use crate::db::{Connection, restored};
use crate::domain::VaultId;
use crate::domain::audit::Details;

/// How far the log is known to be what was recorded.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    vault: VaultId,
    restores: Restores,
    pub(super) seq: i64,
    pub(super) hash: [u8; 32],
}

/// Where an older state of the log was brought back into service, since the last checkpoint.
#[derive(Clone, Debug)]
pub(super) struct Restores(Vec<Restore>);

impl Chain {
    /// At the last checkpoint, whose entry must still have the hash that was signed.
    pub(super) async fn at_last(
        conn: &mut Connection,
        position: &Position,
        key: Option<&CheckpointKey>,
    ) -> Result<Self, NotaryError> {
        const PLACE: &str = "the database";
        let vault = position.vault;
        let signed = position.last.as_ref().map_or(0, |last| last.checkpoint.seq);
        let restores = Restores::after(conn, vault, signed, key).await?;
        let Some(last) = position.last.as_ref().map(|last| last.checkpoint) else {
            return Ok(Self { vault, restores, seq: 0, hash: NO_ENTRY });
        };
        if position.head.seq < last.seq {
            let (signed, head) = (last.seq, position.head.seq);
            return Err(Broken::Behind { place: PLACE.to_owned(), signed, head }.into());
        }
        let entries = checkpoints::entries(conn, last.seq - 1, last.seq).await?;
        match entries.first() {
            Some(entry) if entry.hash == last.head_hash => {
                Ok(Self { vault, restores, seq: last.seq, hash: last.head_hash })
            }
            Some(_) => Err(Broken::OtherHead { place: PLACE.to_owned(), seq: last.seq }.into()),
            None => Err(Broken::Gone { seq: last.seq }.into()),
        }
    }

    /// Goes on to entry `through`.
    pub(super) async fn advance(&mut self, conn: &mut Connection, through: i64) -> Result<(), NotaryError> {
        while self.seq < through {
            let entries = checkpoints::entries(conn, self.seq, through).await?;
            if entries.is_empty() {
                return Err(Broken::Gone { seq: self.seq + 1 }.into());
            }
            for entry in entries {
                if entry.seq != self.restores.next_after(self.seq) {
                    return Err(Broken::Gone { seq: self.seq + 1 }.into());
                }
                if entry_hash(self.vault, &self.hash, &entry) != entry.hash {
                    return Err(Broken::Altered { seq: entry.seq }.into());
                }
                (self.seq, self.hash) = (entry.seq, entry.hash);
            }
        }
        Ok(())
    }

    pub(super) fn restores(&self) -> &Restores {
        &self.restores
    }

    /// What a checkpoint for where the chain is names as the one before.
    pub(super) fn link(&self, last: Option<&SignedCheckpoint>) -> [u8; 32] {
        let signed = last.map_or(0, |last| last.checkpoint.seq);
        let since = self.restores.0.iter().rev().filter(|restore| signed < restore.seq && restore.seq <= self.seq);
        let own = || last.map_or(NO_CHECKPOINT, |last| last.checkpoint.hash());
        since.filter_map(Restore::link).next().unwrap_or_else(own)
    }
}

impl Restores {
    /// Those beyond an entry. Each must say what can be, and name a checkpoint that is signed, where the key is known.
    pub(super) async fn after(
        conn: &mut Connection,
        vault: VaultId,
        seq: i64,
        key: Option<&CheckpointKey>,
    ) -> Result<Self, NotaryError> {
        let mut restores = Vec::new();
        for entry in restored::after(conn, seq).await? {
            let Ok(Details::Restored(details)) = Details::of(&entry) else {
                return Err(Broken::Altered { seq: entry.seq }.into());
            };
            let restore = Restore::of(vault, entry.seq, &details)
                .map_err(|fault| Broken::Restored { seq: entry.seq, fault: fault.to_string() })?;
            if key.is_some_and(|key| restore.verify(key).is_err()) {
                let fault = "the signature of the checkpoint that it names does not verify".to_owned();
                return Err(Broken::Restored { seq: entry.seq, fault }.into());
            }
            restores.push(restore);
        }
        Ok(Self(restores))
    }

    /// What was signed for this entry, if it was signed of a log that is lost.
    pub(super) fn superseding(&self, seq: i64) -> Option<&Lost> {
        self.0.iter().rev().find(|restore| restore.supersedes(seq)).and_then(|restore| restore.lost.as_ref())
    }

    /// Each one's number, and what the next checkpoint follows.
    pub(super) fn links(&self) -> impl Iterator<Item = (i64, [u8; 32])> {
        self.0.iter().filter_map(|restore| Some((restore.seq, restore.link()?)))
    }

    fn next_after(&self, seq: i64) -> i64 {
        self.0.iter().find(|restore| restore.last == seq).map_or(seq + 1, |restore| restore.seq)
    }
}
