//! pii-vault.
pub mod domain;
