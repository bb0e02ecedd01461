//! Rows that are opened to verify a rotation of data keys or of the token key: [`record`] → [`super::handouts::arm`] →
//! [`fetch`].

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::committed::committed;
use crate::db::rotation::SealedEvent;
use crate::db::rotation::sealed_event::EventRow;
use crate::db::{Connection, DbError};
use crate::domain::KeyId;

/// An event as it is sealed, with its tokens.
#[derive(Debug)]
pub struct SampledEvent {
    /// The event.
    pub event: SealedEvent,
    /// Its filled slots: one or two.
    pub tokens: Vec<StoredTokens>,
}

/// The tokens of a slot as they are stored.
#[derive(Debug)]
pub struct StoredTokens {
    /// Their token key.
    pub key: KeyId,
    /// Of the ip.
    pub ip: String,
    /// Of the device id.
    pub device_id: String,
}

/// Records that `most` rows at random, 10,000 at most, are opened: of a rotation of data keys, of those that are under
/// newer keys, and were stored before it as far as there are such; of one of the token key that has filled its rows or
/// is done, of all that it did not list. `None`: there are none.
///
/// # Errors
/// [`DbError`].
pub async fn record(conn: &mut Connection, job: Uuid, most: i32) -> Result<Option<Uuid>, DbError> {
    #[derive(QueryableByName)]
    struct Sample {
        #[diesel(sql_type = Nullable<SqlUuid>)]
        id: Option<Uuid>,
    }
    let sample: Sample = sql_query("SELECT pii_vault.record_sample($1, $2) AS id")
        .bind::<SqlUuid, _>(job)
        .bind::<Integer, _>(most)
        .load(conn)
        .await
        .and_then(committed)
        .map_err(DbError::during("recording a sample"))?;
    Ok(sample.id)
}

/// The rows of the sample, for ten minutes. What was deleted since is left out.
///
/// # Errors
/// [`DbError`]; its refusal where the record is not on disk yet, or no checkpoint covers it and policy asks for one.
pub async fn fetch(conn: &mut Connection, sample: Uuid) -> Result<Vec<SampledEvent>, DbError> {
    let rows: Vec<SampleRow> = sql_query("SELECT * FROM pii_vault.fetch_sample($1)")
        .bind::<SqlUuid, _>(sample)
        .load(conn)
        .await
        .map_err(DbError::during("fetching a sample"))?;
    Ok(rows.into_iter().map(SampledEvent::from).collect())
}

#[derive(QueryableByName)]
struct SampleRow {
    #[diesel(embed)]
    event: EventRow,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    token_key_a: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    ip_token_a: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    device_id_token_a: Option<String>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    token_key_b: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    ip_token_b: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    device_id_token_b: Option<String>,
}

impl From<SampleRow> for SampledEvent {
    fn from(row: SampleRow) -> Self {
        let slots = [
            (row.token_key_a, row.ip_token_a, row.device_id_token_a),
            (row.token_key_b, row.ip_token_b, row.device_id_token_b),
        ];
        let tokens = slots
            .into_iter()
            .filter_map(|(key, ip, device_id)| Some(StoredTokens { key: KeyId(key?), ip: ip?, device_id: device_id? }));
        Self { event: row.event.into(), tokens: tokens.collect() }
    }
}
