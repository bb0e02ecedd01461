//! pii-vault.
pub mod crypto;
pub mod domain;
