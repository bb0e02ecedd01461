//! `pii_vault.token_keys`: wrapped keys of the tokens.

use diesel::prelude::*;
use diesel::sql_types::{Binary, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::enums::sql;
use super::schema::token_keys;
use super::{Connection, DbError};
use crate::crypto::Commitment;
use crate::domain::{KeyId, KeyState, TokenSlot};

/// A token key that new events are tokenised under.
#[derive(Debug, Queryable, QueryableByName)]
pub struct TokenKeyRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    /// The slot it fills.
    #[diesel(sql_type = sql::TokenSlot)]
    pub slot: TokenSlot,
    /// The KMS ciphertext blob.
    #[diesel(sql_type = Binary)]
    pub wrapped_key: Vec<u8>,
    /// ARN of the KMS key that wraps it.
    #[diesel(sql_type = Text)]
    pub kms_key: String,
    /// What it must unwrap to.
    #[diesel(sql_type = Binary)]
    pub commitment: Vec<u8>,
}

impl TokenKeyRow {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId(self.id)
    }
}

/// A token key to store.
#[derive(Debug)]
pub struct NewTokenKey<'a> {
    /// Its id, which stands in its encryption context.
    pub id: KeyId,
    /// The slot it fills.
    pub slot: TokenSlot,
    /// The KMS ciphertext blob.
    pub wrapped_key: &'a [u8],
    /// ARN of the KMS key that wraps it.
    pub kms_key: &'a str,
    /// What it must unwrap to.
    pub commitment: &'a Commitment,
}

/// The pending and active token keys, by slot: those whose slots ingestion fills.
///
/// # Errors
/// [`DbError`].
pub async fn in_use(conn: &mut Connection) -> Result<Vec<TokenKeyRow>, DbError> {
    token_keys::table
        .filter(token_keys::state.eq_any([KeyState::Pending, KeyState::Active]))
        .order(token_keys::slot)
        .select((
            token_keys::id,
            token_keys::slot,
            token_keys::wrapped_key,
            token_keys::kms_key,
            token_keys::commitment,
        ))
        .load(conn)
        .await
        .map_err(DbError::during("reading the token keys"))
}

/// The token key that all rows have tokens of, whatever rotation is under way.
///
/// # Errors
/// [`DbError`].
pub async fn active(conn: &mut Connection) -> Result<Option<KeyId>, DbError> {
    let id = token_keys::table.filter(token_keys::state.eq(KeyState::Active)).select(token_keys::id).first(conn).await;
    Ok(id.optional().map_err(DbError::during("reading which token key is active"))?.map(KeyId))
}

/// Stores the vault's first token key as the active one.
///
/// # Errors
/// [`super::Fault::Constraint`] where the vault has an active token key already.
pub async fn insert_active(conn: &mut Connection, key: &NewTokenKey<'_>) -> Result<(), DbError> {
    diesel::insert_into(token_keys::table)
        .values((
            token_keys::id.eq(key.id.0),
            token_keys::slot.eq(key.slot),
            token_keys::state.eq(KeyState::Active),
            token_keys::wrapped_key.eq(key.wrapped_key),
            token_keys::kms_key.eq(key.kms_key),
            token_keys::commitment.eq(key.commitment.as_bytes()),
        ))
        .execute(conn)
        .await
        .map_err(DbError::during("storing a token key"))?;
    Ok(())
}
