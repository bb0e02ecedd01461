//! Token keys: rows get tokens of a new key beside the old ones, then analysts see those, then the old ones go.
//!
//! ```text
//! start ──► back-fill, while ingestion fills both slots ──► verify ──► cut_over ──► finish ──► retire
//!                  └───────────────────┴──────────────────────┴──► roll_back ──► retire
//! ```
//!
//! Guaranteed: a row gets a new token of its authentic value alone; the old one is computed on the way, and a row whose
//! old tokens are others is listed as tampered with; what has a new token is never overwritten. Each step of the
//! cut-over can be repeated, and what was killed goes on where it was; a statement of a reader sees tokens of one key,
//! never both and never none, and a transaction that has looked at the view sees the same key's to its end; ingestion
//! goes on throughout; nothing is cut over before equal values have proved equal under both keys.
//! Not guaranteed: that the cut-over finds a moment. It needs one without a transaction that has the view open, and one
//! without a snapshot older than the last row that was filled; it gives up after its patience and says who was in the
//! way. Hot standbys have snapshots that their primary does not see.

mod backfill;
mod cut_over;
mod empty;
mod error;
mod fill;
mod finish;
mod index;
mod open;
mod retire;
mod rollback;
mod session;
mod snapshot;
mod token_map;
mod trying;
mod verify;

pub use backfill::{Backfill, start};
pub use cut_over::{CutOver, CutOverOptions, cut_over};
pub use empty::Emptier;
pub use error::{CutOverError, Refusal};
pub use finish::finish;
pub use retire::retire;
pub use rollback::roll_back;
pub use token_map::{Exported, TokenMap};
pub use verify::{Leftover, Verified, verify, verify_done};

use uuid::Uuid;

use crate::db::rotation::token_key::cut_over::Holder;
use crate::db::rotation::{self, Job};
use crate::db::{Connection, DbError};
use crate::domain::{Purpose, RotationKind, TokenSlot};

// What steps wait for locks on.
const EVENTS: &[&str] = &["pii_vault.login_events"];
const TOKEN_KEYS: &[&str] = &["pii_vault.token_keys"];
const VIEW_AND_KEYS: &[&str] = &["public.user_logins", "pii_vault.token_keys"];

/// How far it is, for who watches.
#[derive(Clone, Debug)]
pub enum Progress {
    /// Partitions whose rows have been looked at, of how many.
    Verified(u64, u64),
    /// Indexes of partitions that are built, of how many.
    Indexed(u64, u64),
    /// The groups of equal tokens are compared.
    Comparing,
    /// Others are in the way.
    Waiting(Vec<Holder>),
}

/// A job with what every token-key rotation has.
pub(super) struct TokenJob {
    pub(super) id: Uuid,
    pub(super) old_slot: TokenSlot,
    pub(super) new_slot: TokenSlot,
    pub(super) job: Job,
}

/// The token-key rotation that is not done.
pub(super) async fn unfinished(conn: &mut Connection) -> Result<TokenJob, CutOverError> {
    let job = rotation::unfinished(conn, RotationKind::TokenKey, Purpose::Token).await?;
    let job = job.ok_or(Refusal::NoJob)?;
    let old_slot = job.old_slot.ok_or_else(|| DbError::unreadable("reading a rotation"))?;
    let new_slot = match old_slot {
        TokenSlot::A => TokenSlot::B,
        TokenSlot::B => TokenSlot::A,
    };
    Ok(TokenJob { id: job.id, old_slot, new_slot, job })
}
