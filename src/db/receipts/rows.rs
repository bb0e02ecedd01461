use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Binary, Date as SqlDate, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use time::Date;
use uuid::Uuid;

use crate::db::enums::{sql, sql_enum};
use crate::db::sealing_keys::{KeyColumns, WrappedKey};
use crate::db::{Connection, DbError};
use crate::domain::{EventId, Field, KeyId};

/// How many ordinals one call of [`fetch_unmask`] goes through.
pub const PAGE: i32 = 500;

/// The sealed fields of an event.
#[derive(Debug)]
pub struct SealedRow {
    /// Its place in the receipt's list, from 1.
    pub ordinal: i32,
    /// UTC day of the event.
    pub create_date: Date,
    /// The event.
    pub event: EventId,
    /// Whose login it is.
    pub user_id: String,
    /// The fields that were asked for, sealed.
    pub sealed: Vec<(Field, Vec<u8>)>,
    /// The data key that it names.
    pub key_id: KeyId,
    /// That key, wrapped; `None` where it is not there, or retired.
    pub key: Option<WrappedKey>,
}

/// Why a row does not open. The SQL enum `pii_vault.open_failure` says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpenFailure {
    /// The row went after it was recorded.
    Deleted,
    /// Its data key is not there, or retired.
    KeyMissing,
    /// KMS does not unwrap its data key.
    KeyDoesNotUnwrap,
    /// Its data key is not the one that was stored.
    KeyCommitment,
    /// Too short to be sealed.
    TooShort,
    /// Sealed in a format that this version does not know.
    UnknownVersion,
    /// Its step is above the key's maximum.
    StepAboveMaximum,
    /// Altered, moved to another row, or sealed under another key.
    NotAuthentic,
    /// Authentic, but not what sealing makes.
    MalformedPlaintext,
}

impl OpenFailure {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Deleted,
        Self::KeyMissing,
        Self::KeyDoesNotUnwrap,
        Self::KeyCommitment,
        Self::TooShort,
        Self::UnknownVersion,
        Self::StepAboveMaximum,
        Self::NotAuthentic,
        Self::MalformedPlaintext,
    ];

    /// The word in SQL, in the audit log and in JSON.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::KeyMissing => "key_missing",
            Self::KeyDoesNotUnwrap => "key_does_not_unwrap",
            Self::KeyCommitment => "key_commitment",
            Self::TooShort => "too_short",
            Self::UnknownVersion => "unknown_version",
            Self::StepAboveMaximum => "step_above_maximum",
            Self::NotAuthentic => "not_authentic",
            Self::MalformedPlaintext => "malformed_plaintext",
        }
    }
}

sql_enum!(OpenFailure = OpenFailure, OpenFailureProxy, OpenFailure::code);

/// The sealed rows of the [`PAGE`] ordinals beyond `after`, in order, as often as it is called until the receipt is
/// stale. What was deleted since the record is left out.
///
/// # Errors
/// [`DbError`]; where the receipt permits nothing, [`DbError::refusal`] tells why.
pub async fn fetch_unmask(conn: &mut Connection, receipt: Uuid, after: i32) -> Result<Vec<SealedRow>, DbError> {
    let rows: Vec<EventRow> = sql_query("SELECT * FROM pii_vault.fetch_unmask($1, $2)")
        .bind::<SqlUuid, _>(receipt)
        .bind::<Integer, _>(after)
        .load(conn)
        .await
        .map_err(DbError::during("fetching sealed rows"))?;
    Ok(rows.into_iter().map(SealedRow::from).collect())
}

/// Records what became of the rows of a receipt from the last that was settled up to the ordinal `last`: all opened but
/// `failed`.
///
/// # Errors
/// [`DbError`]. Where the answer was lost, it may be recorded all the same; a row cannot be settled twice.
pub async fn settle_unmask(
    conn: &mut Connection,
    receipt: Uuid,
    last: i32,
    failed: &[(i32, OpenFailure)],
) -> Result<(), DbError> {
    let (ordinals, failures): (Vec<_>, Vec<_>) = failed.iter().copied().unzip();
    sql_query("SELECT pii_vault.settle_unmask($1, $2, $3, $4)")
        .bind::<SqlUuid, _>(receipt)
        .bind::<Integer, _>(last)
        .bind::<Array<Integer>, _>(ordinals)
        .bind::<Array<sql::OpenFailure>, _>(failures)
        .execute(conn)
        .await
        .map_err(DbError::during("recording what was opened"))?;
    Ok(())
}

#[derive(QueryableByName)]
struct EventRow {
    #[diesel(sql_type = Integer)]
    ordinal: i32,
    #[diesel(sql_type = SqlDate)]
    create_date: Date,
    #[diesel(sql_type = SqlUuid)]
    event_id: Uuid,
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = Nullable<Binary>)]
    ip_ciphertext: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Binary>)]
    device_id_ciphertext: Option<Vec<u8>>,
    #[diesel(sql_type = SqlUuid)]
    data_key_id: Uuid,
    #[diesel(embed)]
    key: KeyColumns,
}

impl From<EventRow> for SealedRow {
    fn from(row: EventRow) -> Self {
        let key_id = KeyId(row.data_key_id);
        let key = row.key.of(key_id);
        let sealed = [(Field::Ip, row.ip_ciphertext), (Field::DeviceId, row.device_id_ciphertext)];
        Self {
            ordinal: row.ordinal,
            create_date: row.create_date,
            event: EventId(row.event_id),
            user_id: row.user_id,
            sealed: sealed.into_iter().filter_map(|(field, bytes)| Some((field, bytes?))).collect(),
            key_id,
            key,
        }
    }
}
