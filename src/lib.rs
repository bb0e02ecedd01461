//! Login events from SQS into PostgreSQL: keyed tokens to analyse, sealed originals to recover.
//!
//! Data flows one way, on two paths.
//!
//! ```text
//! etl run    receive ──► parse ──► protect ──► store ──► acknowledge
//!            aws::sqs    domain    crypto      db        aws::sqs
//!                                  under keys of keyring
//!            etl::lines: a file's lines come in likewise, with nothing to acknowledge
//!
//! unmask     authorise + record ──► fetch ──► open ──► settle ──► release
//!            db::receipts           db        crypto   db         the one writer of plaintext
//! ```
//!
//! [`etl`] is the first path, a file for each step; steps that follow from each other show in types: only a committed
//! batch can be acknowledged. [`etl::redrive`] sends dead letters down the same path once more. [`unmask`] is the
//! second: what it fetches a committed record permits, and what it releases has a committed outcome. The first rule is
//! the database's, whoever asks. Modules in layer order, each importing only from those above it:
//!
//! - [`domain`]: events, fields, ids; imports nothing of ours
//! - [`crypto`]: tokens, seals, ratchet, commitments; pure
//! - [`aws`] and [`db`]: adapters, which do not know each other
//! - [`patience`]: waiting for a service that is away
//! - [`keyring`]: wrapped row and KMS to a key in use
//! - [`etl`], [`unmask`], [`lookup`], [`key_rotation`], [`audit`], [`notary`], [`init`], [`retention`], [`doctor`]: the
//!   use cases, which do not know each other
//! - [`cli`]: configuration, wiring, printing
//!
//! `keys/FORMAT.md` gives every stored byte. The library is the program's; its API has no stability of its own.

pub mod audit;
pub mod aws;
pub mod cli;
pub mod crypto;
pub mod db;
pub mod doctor;
pub mod domain;
pub mod etl;
pub mod init;
pub mod key_rotation;
pub mod keyring;
pub mod lookup;
pub mod notary;
pub mod patience;
pub mod retention;
pub mod unmask;
