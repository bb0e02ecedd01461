use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::RunQueryDsl;

use crate::db::committed::committed;
use crate::db::enums::{sql, sql_enum};
use crate::db::{Connection, DbError};
use crate::domain::Purpose;

/// What became of retiring a KMS key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retirement {
    /// It may wrap no key of the purpose any more.
    Retired,
    /// Nor could it before.
    AlreadyRetired,
    /// It never wrapped one.
    Unknown,
    /// It wraps some that are not retired.
    InUse,
    /// A rotation to it is not finished.
    RotationUnfinished,
    /// Other transactions had the keys in hand for too long.
    Busy,
}

impl Retirement {
    const ALL: [Self; 6] =
        [Self::Retired, Self::AlreadyRetired, Self::Unknown, Self::InUse, Self::RotationUnfinished, Self::Busy];

    /// The word in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Retired => "retired",
            Self::AlreadyRetired => "already_retired",
            Self::Unknown => "unknown",
            Self::InUse => "in_use",
            Self::RotationUnfinished => "rotation_unfinished",
            Self::Busy => "busy",
        }
    }
}

sql_enum!(Retirement = KmsKeyRetirement, RetirementProxy, Retirement::name);

/// Retires a KMS key (ARN) for a purpose: no key that it wraps is stored from then on. With the number of keys that it
/// wraps. Waits 2 s at most for transactions that have keys in hand.
///
/// # Errors
/// [`DbError`].
pub async fn retire(
    conn: &mut Connection,
    purpose: Purpose,
    kms_key: &str,
    reason: &str,
) -> Result<(Retirement, i64), DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = sql::KmsKeyRetirement)]
        outcome: Retirement,
        #[diesel(sql_type = Nullable<BigInt>)]
        key_count: Option<i64>,
    }
    let row: Row = sql_query("SELECT outcome, key_count FROM pii_vault.retire_kms_key($1, $2, $3)")
        .bind::<sql::KeyPurpose, _>(purpose)
        .bind::<Text, _>(kms_key)
        .bind::<Text, _>(reason)
        .load(conn)
        .await
        .and_then(committed)
        .map_err(DbError::during("retiring a KMS key"))?;
    Ok((row.outcome, row.key_count.unwrap_or_default()))
}
