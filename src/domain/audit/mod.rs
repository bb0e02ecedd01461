//! What the audit log says: entries, and what each action tells beyond what every entry tells.

mod action;
mod details;
mod micros;
mod rotation;

use uuid::Uuid;

pub use action::{Action, Decision};
pub use details::{
    Decided, Details, DetailsError, Failure, Init, Lookup, LostCheckpoint, Page, PolicySet, Redrive, RedrivePage,
    Requested, Restored, Revoked, Selector, Tokens, Unmask,
};
pub use micros::UnixMicros;
pub use rotation::Rotation;

/// An entry of the audit log, as it is stored and hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// From 1, without gaps but before an entry of [`Action::Restored`].
    pub seq: i64,
    /// When it was recorded.
    pub at: UnixMicros,
    /// What was done, or asked for.
    pub action: Action,
    /// Who did it.
    pub origin: Origin,
    /// What was decided, where something was asked for.
    pub decision: Option<Decision>,
    /// Why it was refused: the word of an [`AccessRefusal`](super::AccessRefusal), or of one that a later version has.
    pub refusal: Option<String>,
    /// Why, in the words of who did it.
    pub reason: Option<String>,
    /// For which case.
    pub case_id: Option<String>,
    /// The request, receipt or job.
    pub subject: Option<Uuid>,
    /// JSON, byte for byte as it was hashed. [`Details::of`] reads it.
    pub details: String,
    /// SHA-256 over the entry before and this one.
    pub hash: [u8; 32],
}

/// Who acts. What a client says of itself is its claim and no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The login, whatever role it had taken on.
    pub actor: String,
    /// The role that it had taken on.
    pub role: String,
    /// As PostgreSQL saw it; `None` over a socket of the same host.
    pub client_address: Option<String>,
    /// As the client says.
    pub claimed_host: Option<String>,
    /// As the client says.
    pub claimed_version: Option<String>,
}
