use crate::crypto::checkpoint::{CheckpointKey, NO_CHECKPOINT, SignedCheckpoint};
use crate::crypto::restore::Restore;
use crate::db::audit_log::{self, Filter};
use crate::db::{Connection, DbError, checkpoints};
use crate::domain::VaultId;
use crate::domain::audit::{Action, Details};

/// How far the log is signed, by the checkpoints that the database has. Copies elsewhere are what they are worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// How many checkpoints there are.
    pub count: u64,
    /// The last.
    pub last: Option<SignedCheckpoint>,
    /// Entries after it.
    pub unsigned: i64,
    /// Of the signatures.
    pub signatures: Signatures,
    /// Entries whose checkpoint says something else than the log, or does not follow the checkpoint before.
    pub broken: Vec<i64>,
}

/// Whether signatures were verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signatures {
    /// No key was given.
    NotChecked,
    /// Those of these entries are not by the key; of none: all are.
    Checked {
        /// Entries.
        bad: Vec<i64>,
    },
}

impl Signed {
    /// Whether something is wrong with them.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        !self.broken.is_empty() || matches!(&self.signatures, Signatures::Checked { bad } if !bad.is_empty())
    }
}

/// Where an older state was brought back into service. What cannot be, the verification names.
async fn restores(conn: &mut Connection, vault: VaultId) -> Result<Vec<Restore>, DbError> {
    let (filter, mut after, mut restores) =
        (Filter { actions: vec![Action::Restored], ..Filter::default() }, 0, Vec::new());
    loop {
        let entries = audit_log::page(conn, &filter, after, super::PAGE).await?;
        let Some(last) = entries.last() else { return Ok(restores) };
        after = last.seq;
        restores.extend(entries.iter().filter_map(|entry| match Details::of(entry) {
            Ok(Details::Restored(restored)) => Restore::of(vault, entry.seq, &restored).ok(),
            _ => None,
        }));
    }
}

/// Reads all checkpoints.
pub(super) async fn signed(
    conn: &mut Connection,
    vault: VaultId,
    head: i64,
    key: Option<&CheckpointKey>,
) -> Result<Signed, DbError> {
    let mut signed =
        Signed { count: 0, last: None, unsigned: head, signatures: Signatures::NotChecked, broken: vec![] };
    let restores = restores(conn, vault).await?;
    let (mut previous, mut after, mut bad) = (NO_CHECKPOINT, 0, Vec::new());
    loop {
        let page = checkpoints::page_beside_log(conn, vault, after).await?;
        let Some((last, _)) = page.last() else { break };
        signed.last = Some(last.clone());
        for (one, logged) in page {
            signed.count += 1;
            let seq = one.checkpoint.seq;
            let since = restores.iter().rev().filter(|restore| after < restore.seq && restore.seq <= seq);
            previous = since.filter_map(Restore::link).next().unwrap_or(previous);
            if one.checkpoint.previous_hash != previous || logged != Some(one.checkpoint.head_hash) {
                signed.broken.push(seq);
            }
            if key.is_some_and(|key| one.verify(key).is_err()) {
                bad.push(seq);
            }
            (after, previous) = (seq, one.checkpoint.hash());
        }
    }
    let passed_over = restores.iter().filter(|restore| restore.seq > after).map(Restore::passed_over);
    signed.unsigned = passed_over.fold(head.saturating_sub(after), i64::saturating_sub);
    if key.is_some() {
        signed.signatures = Signatures::Checked { bad };
    }
    Ok(signed)
}
