//! PostgreSQL: connections, the schema and a file of queries for each table.
//!
//! Guaranteed: every statement runs under the role of its command, with qualified names; every value is bound, never
//! spliced into SQL; no error carries PostgreSQL's own text, which quotes input.
//! Not guaranteed: TLS; until it is built, point `DATABASE_URL` at a local or tunnelled server.

mod connection;
pub mod dead_letters;
mod enums;
mod error;
pub mod hold;
pub mod inspect;
pub mod login_events;
pub mod migrations;
pub mod months;
mod schema;
pub mod sealing_keys;
pub mod token_keys;
pub mod vault;

pub use connection::{ConnectError, Connection, Pool, Role, Server};
pub use error::{DbError, Fault};
