//! `pii_vault.hold_keys`: a batch takes its keys into use for the length of its transaction.

use diesel::sql_types::{Array, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;

use super::enums::{sql, sql_enum};
use super::{Connection, DbError};
use crate::domain::KeyId;

/// Whether the keys of a batch may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// They may, until the transaction ends.
    Held,
    /// The batch lacks a token key that is in use, or has one that is not. Load them anew.
    TokenKeysChanged,
    /// A sealing key of the batch is out of use. Make a new one.
    SealingKeyNotActive,
}

impl Hold {
    const ALL: [Self; 3] = [Self::Held, Self::TokenKeysChanged, Self::SealingKeyNotActive];

    /// The word in SQL.
    fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::TokenKeysChanged => "token_keys_changed",
            Self::SealingKeyNotActive => "sealing_key_not_active",
        }
    }
}

sql_enum!(Hold = KeyHold, HoldProxy, Hold::name);

#[diesel::declare_sql_function]
#[expect(missing_docs, reason = "the macro writes items that cannot carry any")]
extern "SQL" {
    #[sql_name = "pii_vault.hold_keys"]
    fn hold_keys(data: Array<SqlUuid>, dead_letter: Array<SqlUuid>, token: Array<SqlUuid>) -> sql::KeyHold;
}

/// Holds the keys of a batch. Call it first in the batch's transaction.
///
/// # Errors
/// [`DbError`].
pub async fn keys(
    conn: &mut Connection,
    data_keys: &[KeyId],
    dead_letter_keys: &[KeyId],
    token_keys: &[KeyId],
) -> Result<Hold, DbError> {
    let uuids = |keys: &[KeyId]| keys.iter().map(|key| key.0).collect::<Vec<_>>();
    diesel::select(hold_keys(uuids(data_keys), uuids(dead_letter_keys), uuids(token_keys)))
        .get_result(conn)
        .await
        .map_err(DbError::during("holding the keys of a batch"))
}
