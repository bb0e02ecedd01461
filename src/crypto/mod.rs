//! Tokens, seals and the keys behind them: pure and synchronous; randomness is the one effect.
//!
//! Guaranteed:
//! - equal values of a field give equal tokens under one token key, and tokens of two fields never compare equal;
//! - a sealed value opens only under the key, step, row, column, day, user and vault that it was sealed for;
//! - a key is used only after its commitment was compared (GCM-SIV alone does not commit to its key);
//! - once a [`Ratchet`] has moved on, what it held before cannot be derived from it;
//! - no two entries of an audit log, and no two lists of rows, have one hash;
//! - a checkpoint verifies under the key that signed it, for the vault, entry and hash that it was signed for;
//! - keys have no `Display` and no `Serialize`, a redacting `Debug`, and are wiped on drop.
//!
//! Not guaranteed: that a row was not put back to an older state as a whole; that nothing about a value shows (equality
//! and frequency of tokens, the length bucket of a device id); that registers, moved stack copies and swap are wiped.
//!
//! `keys/FORMAT.md` gives every byte; this layer imports `domain` alone.

mod aad;
pub mod audit_chain;
pub mod checkpoint;
mod commitment;
pub mod hex;
mod open_error;
mod ratchet;
pub mod restore;
mod sealed;
mod secret_key;
mod text_block;
mod token;
#[cfg(test)]
mod vectors;

pub use aad::{DeadLetterBinding, ValueBinding};
pub use commitment::{Commitment, CommitmentMismatch};
pub use open_error::OpenError;
pub use ratchet::{Opener, Ratchet, SealingKey};
pub use sealed::{Sealed, open_dead_letter, open_value, seal_dead_letter, seal_value};
pub use secret_key::{KeyLengthError, RandomnessError, SecretKey};
pub use token::{Token, Tokenizer};
