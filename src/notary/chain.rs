//! The audit log from the last checkpoint on, read and hashed anew.

use super::error::{Broken, NotaryError};
use crate::crypto::audit_chain::{NO_ENTRY, entry_hash};
use crate::db::Connection;
use crate::db::checkpoints::{self, Position};
use crate::domain::VaultId;

/// How far the log is known to be what was recorded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    vault: VaultId,
    pub(super) seq: i64,
    pub(super) hash: [u8; 32],
}

impl Chain {
    /// At the last checkpoint, whose entry must still have the hash that was signed.
    pub(super) async fn at_last(conn: &mut Connection, position: &Position) -> Result<Self, NotaryError> {
        const PLACE: &str = "the database";
        let vault = position.vault;
        let Some(last) = position.last.as_ref().map(|last| last.checkpoint) else {
            return Ok(Self { vault, seq: 0, hash: NO_ENTRY });
        };
        if position.head.seq < last.seq {
            let (signed, head) = (last.seq, position.head.seq);
            return Err(Broken::Behind { place: PLACE.to_owned(), signed, head }.into());
        }
        let entries = checkpoints::entries(conn, last.seq - 1, last.seq).await?;
        match entries.first() {
            Some(entry) if entry.hash == last.head_hash => Ok(Self { vault, seq: last.seq, hash: last.head_hash }),
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
                if entry.seq != self.seq + 1 {
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
}
