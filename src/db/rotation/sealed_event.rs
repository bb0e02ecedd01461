use diesel::prelude::*;
use diesel::sql_types::{Binary, Date as SqlDate, Text, Uuid as SqlUuid};
use time::Date;
use uuid::Uuid;

use super::Position;
use crate::db::sealing_keys::{KeyColumns, WrappedKey};
use crate::domain::{EventId, KeyId};

/// An event as it is sealed.
#[derive(Clone, Debug)]
pub struct SealedEvent {
    /// UTC day of the event.
    pub create_date: Date,
    /// The event.
    pub event: EventId,
    /// Whose login it is.
    pub user_id: String,
    /// The sealed ip.
    pub ip: Vec<u8>,
    /// The sealed device id.
    pub device_id: Vec<u8>,
    /// The data key that it names.
    pub key_id: KeyId,
    /// That key, wrapped; `None` where it is not there, or retired.
    pub key: Option<WrappedKey>,
}

impl SealedEvent {
    /// Its primary key.
    #[must_use]
    pub fn position(&self) -> Position {
        (self.create_date, self.event.0)
    }
}

/// The first columns of a sealed event, in whichever function hands it out.
#[derive(QueryableByName)]
pub(super) struct EventRow {
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
}

impl From<EventRow> for SealedEvent {
    fn from(row: EventRow) -> Self {
        let key_id = KeyId(row.data_key_id);
        Self {
            create_date: row.create_date,
            event: EventId(row.event_id),
            user_id: row.user_id,
            ip: row.ip_ciphertext,
            device_id: row.device_id_ciphertext,
            key_id,
            key: row.key.of(key_id),
        }
    }
}
