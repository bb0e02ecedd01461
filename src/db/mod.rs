//! PostgreSQL: connections, the schema and a file of queries for each table.
//!
//! Guaranteed: every statement runs under the role of its command, with qualified names; every value is bound, never
//! spliced into SQL; no error carries PostgreSQL's own text, which quotes input; a connection is never less protected
//! than its [`TlsMode`] says.
//! Not guaranteed: TLS under `TlsMode::Prefer`, the default, where the server has none. [`encryption`] tells.

pub mod access_grants;
pub mod access_policy;
pub mod audit_log;
pub mod audit_stretch;
pub mod audit_tables;
pub mod checkpoints;
mod committed;
mod connection;
pub mod coverage;
pub mod dead_letters;
pub mod encryption;
mod enums;
mod error;
pub mod hold;
pub mod inspect;
pub mod login_events;
pub mod lookups;
pub mod migrations;
pub mod months;
pub mod receipts;
pub mod redrive;
pub mod restored;
pub mod rotation;
mod schema;
pub mod sealing_keys;
pub mod token_keys;
pub mod vault;

pub use connection::{
    AskLogin, AskedLogin, Beside, ConnectError, Connection, Listener, Login, LoginRequest, LoginSource, Pool, Role,
    Roots, Server, TlsMode,
};
pub use error::{DbError, Fault};
