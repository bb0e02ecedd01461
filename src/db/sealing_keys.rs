//! `pii_vault.data_keys` and `pii_vault.dead_letter_keys`: wrapped keys that seal.

use diesel::prelude::*;
use diesel::sql_types::{Binary, Integer, Nullable, Text};
use diesel_async::RunQueryDsl;

use super::schema::{data_keys, dead_letter_keys};
use super::{Connection, DbError};
use crate::crypto::Commitment;
use crate::domain::{KeyId, Purpose};

/// What a sealing key seals, hence which table it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seals {
    /// Values of login events.
    Values,
    /// Bodies of dead letters.
    DeadLetters,
}

impl Seals {
    /// What such a key is for.
    #[must_use]
    pub fn purpose(self) -> Purpose {
        match self {
            Self::Values => Purpose::Data,
            Self::DeadLetters => Purpose::DeadLetter,
        }
    }
}

/// A wrapped key beside a row that names it; NULL where it is not there, or retired.
#[derive(QueryableByName)]
pub(super) struct KeyColumns {
    #[diesel(sql_type = Nullable<Binary>)]
    wrapped_key: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Text>)]
    kms_key: Option<String>,
    #[diesel(sql_type = Nullable<Binary>)]
    commitment: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Integer>)]
    max_step: Option<i32>,
}

impl KeyColumns {
    pub(super) fn of(self, id: KeyId) -> Option<WrappedKey> {
        let Self { wrapped_key, kms_key, commitment, max_step } = self;
        let max_step = max_step?.unsigned_abs();
        Some(WrappedKey { id, wrapped_key: wrapped_key?, kms_key: kms_key?, commitment: commitment?, max_step })
    }
}

/// A sealing key to store before its first use.
#[derive(Debug)]
pub struct NewSealingKey<'a> {
    /// Its id, which stands in its encryption context.
    pub id: KeyId,
    /// The KMS ciphertext blob.
    pub wrapped_key: &'a [u8],
    /// ARN of the KMS key that wraps it.
    pub kms_key: &'a str,
    /// What it must unwrap to.
    pub commitment: &'a Commitment,
    /// The last ratchet step in which it may seal.
    pub max_step: i32,
}

/// A stored sealing key, for who opens what it sealed.
#[derive(Clone, Debug)]
pub struct WrappedKey {
    /// Its id, which stands in its encryption context.
    pub id: KeyId,
    /// The KMS ciphertext blob.
    pub wrapped_key: Vec<u8>,
    /// ARN of the KMS key that wraps it.
    pub kms_key: String,
    /// What it must unwrap to.
    pub commitment: Vec<u8>,
    /// The last ratchet step in which it may have sealed.
    pub max_step: u32,
}

/// Stores a wrapped key, active. Committed when it returns: nothing may be sealed under a key that could be lost.
///
/// # Errors
/// [`DbError`].
pub async fn insert(conn: &mut Connection, seals: Seals, key: &NewSealingKey<'_>) -> Result<(), DbError> {
    // The two tables are alike, but are two types to diesel.
    macro_rules! insert_into {
        ($table:ident) => {
            diesel::insert_into($table::table)
                .values((
                    $table::id.eq(key.id.0),
                    $table::wrapped_key.eq(key.wrapped_key),
                    $table::kms_key.eq(key.kms_key),
                    $table::commitment.eq(key.commitment.as_bytes()),
                    $table::max_step.eq(key.max_step),
                ))
                .execute(conn)
                .await
        };
    }
    match seals {
        Seals::Values => insert_into!(data_keys),
        Seals::DeadLetters => insert_into!(dead_letter_keys),
    }
    .map_err(DbError::during("storing a sealing key"))?;
    Ok(())
}
