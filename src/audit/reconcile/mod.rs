//! `audit reconcile`: what AWS's own record has of keys that were unwrapped, against what the log has of receipts.
//!
//! An entry of CloudTrail names the vault and the key by the encryption context, which KMS has checked; who asked,
//! which IAM has checked; and the receipt, which the client claims and nobody has checked. So an unwrap that names no
//! receipt, a read without an unwrap, and the wrong principal are evidence. A receipt that is named is none: whoever
//! has `kms:Decrypt` can name any. Whether a key is one that the rows of its receipt need is not compared. Rotations of
//! keys are named and judged the same way, but that they do not have to unwrap anything.

pub mod cloudtrail;

mod compare;
mod pattern;
mod receipts;
mod rotations;

use std::time::Duration;

use serde::Serialize;

use crate::db::audit_log::{Filter, page, stand_still};
use crate::db::{Connection, DbError, vault};
use crate::domain::VaultId;
use crate::domain::audit::{Action, UnixMicros};
use cloudtrail::Trail;
use compare::compare;
use receipts::Receipts;
use rotations::Rotations;

pub use pattern::Principal;

/// What is compared, and how strictly.
#[derive(Clone, Debug)]
pub struct Question {
    /// Who unmasks; `None`: whoever.
    pub unmask: Option<Principal>,
    /// Who looks up tokens.
    pub lookup: Option<Principal>,
    /// Who seals values anew and fills token slots, for rotations of keys.
    pub reseal: Option<Principal>,
    /// How far an unwrap may be from the record of its receipt, or from the span of its rotation.
    pub tolerance: Duration,
    /// Receipts from here on must have an unwrap; `None`: from the first entry of the trail on.
    pub since: Option<UnixMicros>,
    /// And before here; `None`: until its last entry.
    pub until: Option<UnixMicros>,
}

/// What the two say of each other.
#[derive(Clone, Debug, Serialize)]
pub struct Reconciled {
    /// The vault.
    pub vault: String,
    /// The span in which each receipt must have an unwrap; `None` where the trail has no entry, and none was given.
    pub span: Option<[String; 2]>,
    /// Entries of the trail, each once.
    pub entries: u64,
    /// Of these, keys of this vault that were unwrapped to open originals.
    pub data_unwraps: u64,
    /// To look up tokens: those that name a receipt.
    pub lookup_unwraps: u64,
    /// For rotations of keys: those that name one.
    pub rotation_unwraps: u64,
    /// The same, by rotation and principal.
    pub rotations: Vec<Rotation>,
    /// Keys that other services unwrap, which name no receipt: token keys and dead-letter keys, by principal.
    pub services: Vec<Service>,
    /// Attempts that KMS refused, and that named a key of this vault: nothing came of them.
    pub failed: u64,
    /// Receipts in the span that rows were opened or tokens told by.
    pub receipts: u64,
    /// The same, outside of the span: whether they have an unwrap was not looked at.
    pub receipts_outside: u64,
    /// How many findings.
    pub findings_count: u64,
    /// What does not fit, [`LISTED`] at most.
    pub findings: Vec<Mismatch>,
}

/// Findings that are listed; the rest is counted.
pub const LISTED: usize = 1000;

/// A principal that unwraps keys without a receipt, as services do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Its ARN, as CloudTrail has it.
    pub principal: String,
    /// `token` or `dead-letter`.
    pub purpose: String,
    /// How often.
    pub unwraps: u64,
}

/// A rotation of keys that a client named, and a principal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rotation {
    /// The job.
    pub job: String,
    /// Its entry of the log.
    pub seq: i64,
    /// `data-key` or `token-key`.
    pub kind: String,
    /// Who unwrapped, as CloudTrail has it.
    pub principal: String,
    /// `data` or `token`.
    pub purpose: String,
    /// How often.
    pub unwraps: u64,
}

/// Something that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// What kind, for scripts.
    pub word: &'static str,
    /// In a sentence.
    pub what: String,
    /// The receipt, as claimed or as recorded.
    pub receipt: Option<String>,
    /// The rotation of keys, as claimed.
    pub job: Option<String>,
    /// The entry of the log.
    pub seq: Option<i64>,
    /// The entry of CloudTrail.
    pub event_id: Option<String>,
    /// When it was unwrapped; of a receipt without an unwrap, when that was recorded.
    pub at: String,
    /// Who unwrapped.
    pub principal: Option<String>,
    /// Which key of the vault.
    pub key: Option<String>,
}

/// Compares the trail with the log, as it is at one moment. Whether the log itself holds, `audit verify` says.
///
/// # Errors
/// [`DbError`]. What does not fit is no error.
pub async fn reconcile(conn: &mut Connection, trail: &Trail, question: &Question) -> Result<Reconciled, DbError> {
    stand_still(conn).await?;
    let vault: VaultId = vault::id(conn).await?;
    let actions = [
        Action::Unmask,
        Action::UnmaskDryRun,
        Action::UnmaskPage,
        Action::Lookup,
        Action::LookupTokens,
        Action::KeyRotation,
    ];
    let filter = Filter { actions: actions.into(), ..Filter::default() };
    let (mut receipts, mut rotations, mut after) = (Receipts::default(), Rotations::default(), 0);
    loop {
        let entries = page(conn, &filter, after, 2000).await?;
        let Some(last) = entries.last() else { break };
        after = last.seq;
        for entry in &entries {
            match entry.action {
                Action::KeyRotation => rotations.note(entry),
                _ => receipts.note(entry),
            }
        }
    }
    Ok(compare(vault, trail, &mut receipts, rotations, question))
}
