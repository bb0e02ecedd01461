//! `pii_vault.login_events`: one row for each login.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Array, Binary, Date as SqlDate, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use time::Date;
use uuid::Uuid;

use super::{Connection, DbError};
use crate::crypto::{Sealed, Token};
use crate::domain::{BoundedText, EventId, KeyId};

/// A protected event, ready to store.
#[derive(Debug)]
pub struct NewLoginEvent {
    /// UTC day of the message.
    pub create_date: Date,
    /// The message.
    pub event_id: EventId,
    /// Who logged in.
    pub user_id: BoundedText<128>,
    /// Kind of device.
    pub device_type: BoundedText<32>,
    /// Locale.
    pub locale: Option<BoundedText<32>>,
    /// The app's version.
    pub app_version: BoundedText<32>,
    /// The sealed ip.
    pub ip: Sealed,
    /// The sealed device id.
    pub device_id: Sealed,
    /// The data key of both seals.
    pub data_key: KeyId,
    /// Slot a.
    pub slot_a: Option<EventTokens>,
    /// Slot b.
    pub slot_b: Option<EventTokens>,
}

/// The tokens of one slot.
#[derive(Clone, Debug)]
pub struct EventTokens {
    /// Of the ip.
    pub ip: Token,
    /// Of the device id.
    pub device_id: Token,
    /// The token key of both.
    pub key: KeyId,
}

impl NewLoginEvent {
    /// The primary key, by which batches are sorted: unsorted ones deadlock.
    #[must_use]
    pub fn primary_key(&self) -> (Date, EventId) {
        (self.create_date, self.event_id)
    }

    /// The tokens of the slots that are filled.
    pub fn slots(&self) -> impl Iterator<Item = &EventTokens> {
        self.slot_a.iter().chain(&self.slot_b)
    }
}

/// Inserts events that are not there yet, in the order given, and returns how many were not.
///
/// `ON CONFLICT DO NOTHING` has no target: one would ask for SELECT, which ingestion does not have.
///
/// # Errors
/// [`DbError`].
pub async fn insert(conn: &mut Connection, events: &[NewLoginEvent]) -> Result<usize, DbError> {
    if events.is_empty() {
        return Ok(0);
    }
    Columns::from(events).execute(conn).await.map_err(DbError::during("storing events"))
}

/// The batch, column by column: one array is one bind, however many rows there are.
#[derive(Default)]
struct Columns<'a> {
    create_date: Vec<Date>,
    event_id: Vec<Uuid>,
    user_id: Vec<&'a str>,
    device_type: Vec<&'a str>,
    locale: Vec<Option<&'a str>>,
    app_version: Vec<&'a str>,
    ip: Vec<&'a [u8]>,
    device_id: Vec<&'a [u8]>,
    data_key: Vec<Uuid>,
    slot_a: SlotColumns,
    slot_b: SlotColumns,
}

#[derive(Default)]
struct SlotColumns {
    ip: Vec<Option<String>>,
    device_id: Vec<Option<String>>,
    key: Vec<Option<Uuid>>,
}

impl<'a> From<&'a [NewLoginEvent]> for Columns<'a> {
    fn from(events: &'a [NewLoginEvent]) -> Self {
        let mut columns = Self::default();
        for event in events {
            columns.create_date.push(event.create_date);
            columns.event_id.push(event.event_id.0);
            columns.user_id.push(event.user_id.as_str());
            columns.device_type.push(event.device_type.as_str());
            columns.locale.push(event.locale.as_ref().map(BoundedText::as_str));
            columns.app_version.push(event.app_version.as_str());
            columns.ip.push(event.ip.as_bytes());
            columns.device_id.push(event.device_id.as_bytes());
            columns.data_key.push(event.data_key.0);
            columns.slot_a.push(event.slot_a.as_ref());
            columns.slot_b.push(event.slot_b.as_ref());
        }
        columns
    }
}

impl SlotColumns {
    fn push(&mut self, tokens: Option<&EventTokens>) {
        self.ip.push(tokens.map(|tokens| tokens.ip.to_string()));
        self.device_id.push(tokens.map(|tokens| tokens.device_id.to_string()));
        self.key.push(tokens.map(|tokens| tokens.key.0));
    }
}

impl QueryFragment<Pg> for Columns<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "INSERT INTO pii_vault.login_events (create_date, event_id, user_id, device_type, locale, app_version, \
             ip_ciphertext, device_id_ciphertext, data_key_id, ip_token_a, device_id_token_a, token_key_a, \
             ip_token_b, device_id_token_b, token_key_b) SELECT * FROM UNNEST(",
        );
        out.push_bind_param::<Array<SqlDate>, _>(&self.create_date)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<SqlUuid>, _>(&self.event_id)?;
        for texts in [&self.user_id, &self.device_type] {
            out.push_sql(", ");
            out.push_bind_param::<Array<Text>, _>(texts)?;
        }
        out.push_sql(", ");
        out.push_bind_param::<Array<Nullable<Text>>, _>(&self.locale)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.app_version)?;
        for sealed in [&self.ip, &self.device_id] {
            out.push_sql(", ");
            out.push_bind_param::<Array<Binary>, _>(sealed)?;
        }
        out.push_sql(", ");
        out.push_bind_param::<Array<SqlUuid>, _>(&self.data_key)?;
        for slot in [&self.slot_a, &self.slot_b] {
            out.push_sql(", ");
            out.push_bind_param::<Array<Nullable<Text>>, _>(&slot.ip)?;
            out.push_sql(", ");
            out.push_bind_param::<Array<Nullable<Text>>, _>(&slot.device_id)?;
            out.push_sql(", ");
            out.push_bind_param::<Array<Nullable<SqlUuid>>, _>(&slot.key)?;
        }
        out.push_sql(") ON CONFLICT DO NOTHING");
        Ok(())
    }
}

/// The SQL is the same for every batch, so one prepared statement serves a connection.
impl QueryId for Columns<'_> {
    type QueryId = Columns<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}
