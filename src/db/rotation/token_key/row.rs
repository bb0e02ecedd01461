use diesel::prelude::*;
use diesel::sql_types::{Binary, Date as SqlDate, Nullable, Text, Uuid as SqlUuid};
use time::Date;
use uuid::Uuid;

use crate::db::rotation::Position;
use crate::db::sealing_keys::{KeyColumns, WrappedKey};
use crate::domain::{EventId, Field, KeyId};

/// A row to fill, or to look at.
#[derive(Clone, Debug)]
pub struct TokenRow {
    /// Its primary key.
    pub position: Position,
    /// Whose login it is.
    pub user_id: String,
    /// Both fields, sealed.
    pub sealed: [(Field, Vec<u8>); 2],
    /// The data key that it names.
    pub key_id: KeyId,
    /// That key, wrapped; `None` where it is not there, or retired.
    pub key: Option<WrappedKey>,
    /// The tokens of the old key, and which key the row says they are of.
    pub old: Tokens,
    /// The key of the old tokens.
    pub old_key: Option<Uuid>,
}

/// The tokens of one slot: ip, device id.
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens(pub Option<String>, pub Option<String>);

impl TokenRow {
    /// The event.
    #[must_use]
    pub fn event(&self) -> EventId {
        EventId(self.position.1)
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens([redacted])")
    }
}

#[derive(QueryableByName)]
pub(super) struct FetchedRow {
    #[diesel(sql_type = SqlDate)]
    create_date: Date,
    #[diesel(sql_type = SqlUuid)]
    event_id: Uuid,
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = Binary)]
    ip_ciphertext: Vec<u8>,
    #[diesel(sql_type = Binary)]
    device_id_ciphertext: Vec<u8>,
    #[diesel(sql_type = SqlUuid)]
    data_key_id: Uuid,
    #[diesel(embed)]
    key: KeyColumns,
    #[diesel(sql_type = Nullable<Text>)]
    ip_token: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    device_id_token: Option<String>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    token_key: Option<Uuid>,
}

impl From<FetchedRow> for TokenRow {
    fn from(row: FetchedRow) -> Self {
        let key_id = KeyId(row.data_key_id);
        Self {
            position: (row.create_date, row.event_id),
            user_id: row.user_id,
            sealed: [(Field::Ip, row.ip_ciphertext), (Field::DeviceId, row.device_id_ciphertext)],
            key_id,
            key: row.key.of(key_id),
            old: Tokens(row.ip_token, row.device_id_token),
            old_key: row.token_key,
        }
    }
}
