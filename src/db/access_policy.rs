//! `pii_vault.access_policy`: what may be opened.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};
use diesel_async::RunQueryDsl;

use super::enums::sql;
use super::error::word;
use super::{Connection, DbError};
use crate::domain::{CasePattern, CheckpointPolicy};

/// What may be opened.
#[derive(Clone, Debug, QueryableByName)]
pub struct AccessPolicy {
    /// Of the row of the audit log that it came with.
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    /// Values that an officer may open in a rolling 24 hours without a grant.
    #[diesel(sql_type = Integer)]
    pub alone_limit: i32,
    /// Of how many others a grant needs.
    #[diesel(sql_type = Integer)]
    pub approvals: i32,
    /// The longest that a grant lasts.
    #[diesel(sql_type = Integer)]
    pub longest_grant_seconds: i32,
    /// What the whole of a case id must match.
    #[diesel(sql_type = Text)]
    pub case_pattern: String,
    /// Whether a read waits for a signed checkpoint.
    #[diesel(sql_type = sql::CheckpointPolicy)]
    pub checkpoints: CheckpointPolicy,
}

/// What to change of the policy in force; `None` keeps what is. The first has defaults for what it does not name.
#[derive(Clone, Debug, Default)]
pub struct PolicyChange {
    /// As [`AccessPolicy::alone_limit`].
    pub alone_limit: Option<i32>,
    /// As [`AccessPolicy::approvals`].
    pub approvals: Option<i32>,
    /// As [`AccessPolicy::longest_grant_seconds`].
    pub longest_grant: Option<Duration>,
    /// As [`AccessPolicy::case_pattern`].
    pub case_pattern: Option<CasePattern>,
    /// As [`AccessPolicy::checkpoints`].
    pub checkpoints: Option<CheckpointPolicy>,
}

/// Why a policy was not set.
#[derive(Debug, thiserror::Error)]
pub enum SetPolicyError {
    /// The pattern of a case id is beyond PostgreSQL.
    #[error("PostgreSQL does not take the pattern of a case id")]
    CasePattern,
    /// A statement.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// The policy in force; `None`: nothing opens.
///
/// # Errors
/// [`DbError`].
pub async fn current(conn: &mut Connection) -> Result<Option<AccessPolicy>, DbError> {
    sql_query("SELECT * FROM pii_vault.current_policy()")
        .get_result(conn)
        .await
        .optional()
        .map_err(DbError::during("reading the policy"))
}

/// Sets what may be opened, and records it. `conn` is under the owner's role.
///
/// # Errors
/// [`SetPolicyError`].
pub async fn set(conn: &mut Connection, change: &PolicyChange, reason: &str) -> Result<(), SetPolicyError> {
    let longest = change.longest_grant.map(super::access_grants::seconds);
    sql_query("SELECT pii_vault.set_policy($1, $2, $3, $4, $5, $6)")
        .bind::<Nullable<Integer>, _>(change.alone_limit)
        .bind::<Nullable<Integer>, _>(change.approvals)
        .bind::<Nullable<Integer>, _>(longest)
        .bind::<Nullable<Text>, _>(change.case_pattern.as_ref().map(CasePattern::as_str))
        .bind::<Nullable<sql::CheckpointPolicy>, _>(change.checkpoints)
        .bind::<Text, _>(reason)
        .execute(conn)
        .await
        .map_err(|error| match word(&error) {
            Some("case_pattern") => SetPolicyError::CasePattern,
            _ => DbError::during("setting the policy")(error).into(),
        })?;
    Ok(())
}
