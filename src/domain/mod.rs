//! What the pipeline speaks about: login events, their fields, their names.
//!
//! Guaranteed: a [`LoginEvent`] holds only what `pii_vault.login_events` can store and what the crypto layer can
//! protect; its `ip` and `device_id` have no `Display`, no `Serialize`, a redacting `Debug`, and are wiped on drop.
//! Not guaranteed: copies that a parser or an SDK made before a value got here are freed, not wiped.
//!
//! This layer imports nothing of ours.

mod access;
mod access_refusal;
pub mod audit;
mod bounded_text;
mod case_pattern;
mod client_ip;
mod create_date;
mod device_id;
mod field;
mod id;
mod json_object;
mod login_event;
mod month;
mod refusal;
mod rotation;
mod state;
mod terminal;

pub use access::{AccessState, CheckpointPolicy, Verdict};
pub use access_refusal::AccessRefusal;
pub use bounded_text::BoundedText;
pub use case_pattern::{CasePattern, CasePatternError};
pub use client_ip::ClientIp;
pub use create_date::create_date;
pub use device_id::DeviceId;
pub use field::Field;
pub use id::{EventId, KeyId, VaultId};
pub use login_event::LoginEvent;
pub use month::Month;
pub use refusal::{Member, Reason, Refusal};
pub use rotation::{RotationFailure, RotationKind, RotationStep};
pub use state::{KeyState, Purpose, TokenSlot};
pub use terminal::drives_terminal;
