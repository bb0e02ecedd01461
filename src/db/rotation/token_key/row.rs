use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use crate::db::rotation::SealedEvent;
use crate::db::rotation::sealed_event::EventRow;

/// A row to fill, or to look at.
#[derive(Clone, Debug)]
pub struct TokenRow {
    /// The event, sealed.
    pub event: SealedEvent,
    /// The tokens of the old key, and which key the row says they are of.
    pub old: Tokens,
    /// The key of the old tokens.
    pub old_key: Option<Uuid>,
}

/// The tokens of one slot: ip, device id.
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens(pub Option<String>, pub Option<String>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens([redacted])")
    }
}

#[derive(QueryableByName)]
pub(super) struct FetchedRow {
    #[diesel(embed)]
    event: EventRow,
    #[diesel(sql_type = Nullable<Text>)]
    ip_token: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    device_id_token: Option<String>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    token_key: Option<Uuid>,
}

impl From<FetchedRow> for TokenRow {
    fn from(row: FetchedRow) -> Self {
        Self { event: row.event.into(), old: Tokens(row.ip_token, row.device_id_token), old_key: row.token_key }
    }
}
