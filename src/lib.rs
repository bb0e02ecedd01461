//! pii-vault.
pub mod aws;
pub mod cli;
pub mod crypto;
pub mod db;
pub mod domain;
pub mod etl;
pub mod init;
pub mod keyring;
