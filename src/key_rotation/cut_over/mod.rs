//! Of a token key: the new tokens take the place of the old ones, or do not.
//!
//! Guaranteed: each step can be repeated, and what was killed goes on where it was; a statement of a reader sees tokens of
//! one key, never both and never none, and a transaction that has looked at the view sees the same key's to its end;
//! ingestion goes on throughout; nothing is cut over before equal values have proved equal under both keys.
//! Not guaranteed: that it finds a moment. It needs one without a transaction that has the view open, and one without a
//! snapshot older than the last row that was filled; it gives up after its patience and says who was in the way. Hot
//! standbys have snapshots that their primary does not see.

mod done;
mod empty;
mod error;
mod fill;
mod finish;
mod index;
mod retire;
mod roll_back;
mod session;
mod snapshot;
mod trying;

pub use done::{CutOver, Options, cut_over};
pub use empty::Emptier;
pub use error::{CutOverError, Refusal};
pub use finish::finish;
pub use retire::retire;
pub use roll_back::roll_back;

use uuid::Uuid;

use crate::db::rotation::cut_over::Holder;
use crate::db::rotation::{self, Job};
use crate::db::{Connection, DbError};
use crate::domain::{Purpose, RotationKind, TokenSlot};

// What steps wait for locks on.
const EVENTS: &[&str] = &["pii_vault.login_events"];
const KEYS: &[&str] = &["pii_vault.token_keys"];
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
