use super::KeyringError;
use crate::aws::{EncryptionContext, KeyWrapper};
use crate::crypto::{Commitment, Tokenizer};
use crate::db::token_keys::{NewTokenKey, TokenKeyRow};
use crate::db::{Connection, token_keys};
use crate::domain::{KeyId, Purpose, TokenSlot, VaultId};

/// The token keys in use: one, or two while a rotation is under way.
#[derive(Debug)]
pub struct TokenKeys {
    /// Fills slot a.
    pub slot_a: Option<TokenKey>,
    /// Fills slot b.
    pub slot_b: Option<TokenKey>,
}

/// An unwrapped token key.
#[derive(Debug)]
pub struct TokenKey {
    /// Its id.
    pub id: KeyId,
    /// What makes its tokens.
    pub tokenizer: Tokenizer,
}

impl TokenKeys {
    /// Reads and unwraps the pending and active token keys.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub async fn load<W: KeyWrapper>(conn: &mut Connection, wrapper: &W, vault: VaultId) -> Result<Self, KeyringError> {
        let rows = token_keys::in_use(conn).await?;
        Self::of(rows, wrapper, vault).await
    }

    /// As [`Self::load`]; `None` where the keys in use are these still, which KMS is not asked for.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub async fn changed<W: KeyWrapper>(
        &self,
        conn: &mut Connection,
        wrapper: &W,
        vault: VaultId,
    ) -> Result<Option<Self>, KeyringError> {
        let rows = token_keys::in_use(conn).await?;
        if rows.iter().map(TokenKeyRow::id).eq(self.ids()) {
            return Ok(None);
        }
        Self::of(rows, wrapper, vault).await.map(Some)
    }

    async fn of<W: KeyWrapper>(rows: Vec<TokenKeyRow>, wrapper: &W, vault: VaultId) -> Result<Self, KeyringError> {
        let mut keys = Self { slot_a: None, slot_b: None };
        for row in rows {
            let key = TokenKey::unwrap(wrapper, vault, &row).await?;
            match row.slot {
                TokenSlot::A => keys.slot_a = Some(key),
                TokenSlot::B => keys.slot_b = Some(key),
            }
        }
        if keys.slot_a.is_none() && keys.slot_b.is_none() {
            return Err(KeyringError::NoTokenKey);
        }
        Ok(keys)
    }

    /// Makes the vault's first token key, in slot a, unless it has one. Returns whether it did.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub async fn ensure_first<W: KeyWrapper>(
        conn: &mut Connection,
        wrapper: &W,
        vault: VaultId,
    ) -> Result<bool, KeyringError> {
        if !token_keys::in_use(conn).await?.is_empty() {
            return Ok(false);
        }
        let id = KeyId::random();
        let key = wrapper.generate(EncryptionContext { vault, purpose: Purpose::Token, key: id }).await?;
        let new = NewTokenKey {
            id,
            slot: TokenSlot::A,
            wrapped_key: &key.wrapped,
            kms_key: &key.kms_key,
            commitment: &Commitment::to(&key.plaintext),
        };
        token_keys::insert_active(conn, &new).await?;
        Ok(true)
    }

    /// The ids of the keys, by slot.
    #[must_use]
    pub fn ids(&self) -> Vec<KeyId> {
        self.slot_a.iter().chain(&self.slot_b).map(|key| key.id).collect()
    }
}

impl TokenKey {
    /// Unwraps a token key, and compares it with what was committed to.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub async fn unwrap<W: KeyWrapper>(wrapper: &W, vault: VaultId, row: &TokenKeyRow) -> Result<Self, KeyringError> {
        let context = EncryptionContext { vault, purpose: Purpose::Token, key: row.id() };
        let key = wrapper.unwrap(&row.kms_key, &row.wrapped_key, context).await.map_err(|error| {
            match error.is_key_off() {
                true => KeyringError::KmsKeyOff { key: row.id(), kms_key: row.kms_key.clone() },
                false => error.into(),
            }
        })?;
        Commitment::verify(&row.commitment, &key)
            .map_err(|source| KeyringError::Commitment { key: row.id(), source })?;
        Ok(Self { id: row.id(), tokenizer: Tokenizer::new(&key) })
    }
}
