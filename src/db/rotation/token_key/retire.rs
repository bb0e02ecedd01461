use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::committed::committed;
use crate::db::enums::{sql, sql_enum};
use crate::db::{Connection, DbError};
use crate::domain::KeyId;

/// What became of a token key that was to be retired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retirement {
    /// It is retired, now.
    Retired,
    /// It was before.
    RetiredBefore,
    /// No token key has this id.
    Unknown,
    /// It is pending or active.
    InUse,
    /// Rows have tokens of it.
    RowsLeft,
    /// Another session was in the way; trying again helps.
    LockedOut,
}

impl Retirement {
    const ALL: [Self; 6] =
        [Self::Retired, Self::RetiredBefore, Self::Unknown, Self::InUse, Self::RowsLeft, Self::LockedOut];

    /// The word in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Retired => "retired",
            Self::RetiredBefore => "retired_before",
            Self::Unknown => "unknown",
            Self::InUse => "in_use",
            Self::RowsLeft => "rows_left",
            Self::LockedOut => "locked_out",
        }
    }
}

sql_enum!(Retirement = TokenKeyRetirement, RetirementProxy, Retirement::name);

/// The token keys that make no tokens any more and are not retired.
///
/// # Errors
/// [`DbError`].
pub async fn decrypt_only(conn: &mut Connection) -> Result<Vec<KeyId>, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    let rows: Vec<Row> =
        sql_query("SELECT id FROM pii_vault.token_keys WHERE state = 'decrypt-only' ORDER BY created_at, id")
            .load(conn)
            .await
            .map_err(DbError::during("reading the token keys"))?;
    Ok(rows.into_iter().map(|row| KeyId(row.id)).collect())
}

/// Takes a token key out of all use, unless a row has tokens of it. Looks at all rows.
///
/// # Errors
/// [`DbError`].
pub async fn retire(conn: &mut Connection, key: KeyId, reason: &str) -> Result<Retirement, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = sql::TokenKeyRetirement)]
        retirement: Retirement,
    }
    let row: Row = sql_query("SELECT pii_vault.retire_token_key($1, $2) AS retirement")
        .bind::<SqlUuid, _>(key.0)
        .bind::<Text, _>(reason)
        .load(conn)
        .await
        .and_then(committed)
        .map_err(DbError::during("retiring a token key"))?;
    Ok(row.retirement)
}
