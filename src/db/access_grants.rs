//! `pii_vault.access_grants`: requests for grants, and what became of them.
//!
//! Who asks, decides and revokes is the login of the connection. The database judges, and records its refusals.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use time::OffsetDateTime;
use uuid::Uuid;

use super::committed::committed;
use super::enums::sql;
use super::{Connection, DbError};
use crate::domain::{AccessRefusal, AccessState, Field, Verdict};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct AccessRequest {
    /// Which fields.
    pub fields: Vec<Field>,
    /// Why, for the record.
    pub reason: String,
    /// The case.
    pub case_id: String,
    /// How many values.
    pub max_values: u32,
    /// For how long, from the last approval; whole seconds count.
    pub duration: Duration,
}

/// A request, and what became of it by the policy of today.
#[derive(Clone, Debug, QueryableByName)]
pub struct AccessGrant {
    /// The request's.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// What became of it.
    #[diesel(sql_type = sql::AccessState)]
    pub state: AccessState,
    /// When.
    #[diesel(sql_type = Timestamptz)]
    pub requested_at: OffsetDateTime,
    /// Who asked.
    #[diesel(sql_type = Text)]
    pub requester: String,
    /// Which fields it is for.
    #[diesel(sql_type = Array<sql::SealedField>)]
    pub fields: Vec<Field>,
    /// Why.
    #[diesel(sql_type = Text)]
    pub reason: String,
    /// The case.
    #[diesel(sql_type = Text)]
    pub case_id: String,
    /// How many values it is for.
    #[diesel(sql_type = Integer)]
    pub max_values: i32,
    /// How many were charged to it.
    #[diesel(sql_type = BigInt)]
    pub used: i64,
    /// How long was asked for.
    #[diesel(sql_type = Integer)]
    pub duration_seconds: i32,
    /// How many it needs.
    #[diesel(sql_type = Integer)]
    pub approvals_needed: i32,
    /// Who approved, in order.
    #[diesel(sql_type = Array<Text>)]
    pub approved_by: Vec<String>,
    /// Who denied.
    #[diesel(sql_type = Array<Text>)]
    pub denied_by: Vec<String>,
    /// Who took it back.
    #[diesel(sql_type = Array<Text>)]
    pub revoked_by: Vec<String>,
    /// When it had all approvals that it needs.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub granted_at: Option<OffsetDateTime>,
    /// When its time is over.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub expires_at: Option<OffsetDateTime>,
}

/// Which requests. What is empty selects all.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The one with this id.
    pub id: Option<Uuid>,
    /// In one of these states.
    pub states: Vec<AccessState>,
    /// For this case.
    pub case_id: Option<String>,
    /// The latest so many.
    pub limit: Option<u32>,
}

/// Asks for a grant; the id of the request, or why it was refused.
///
/// # Errors
/// [`DbError`].
pub async fn request(conn: &mut Connection, asked: &AccessRequest) -> Result<Result<Uuid, AccessRefusal>, DbError> {
    #[derive(QueryableByName)]
    struct Answer {
        #[diesel(sql_type = SqlUuid)]
        request: Uuid,
        #[diesel(sql_type = Nullable<sql::AccessRefusal>)]
        refusal: Option<AccessRefusal>,
    }
    let answer: Answer = sql_query("SELECT * FROM pii_vault.request_access($1, $2, $3, $4, $5)")
        .bind::<Array<sql::SealedField>, _>(&asked.fields)
        .bind::<Text, _>(&asked.reason)
        .bind::<Text, _>(&asked.case_id)
        .bind::<Integer, _>(i32::try_from(asked.max_values).unwrap_or(i32::MAX))
        .bind::<Integer, _>(seconds(asked.duration))
        .load(conn)
        .await
        .and_then(committed)
        .map_err(DbError::during("asking for a grant"))?;
    Ok(answer.refusal.map_or(Ok(answer.request), Err))
}

/// Approves or denies what another asked for; why that was refused, where it was.
///
/// # Errors
/// [`DbError`].
pub async fn decide(
    conn: &mut Connection,
    request: Uuid,
    verdict: Verdict,
    reason: Option<&str>,
) -> Result<Result<(), AccessRefusal>, DbError> {
    let answer: Answer = sql_query("SELECT pii_vault.decide_access($1, $2, $3) AS refusal")
        .bind::<SqlUuid, _>(request)
        .bind::<sql::AccessVerdict, _>(verdict)
        .bind::<Nullable<Text>, _>(reason)
        .load(conn)
        .await
        .and_then(committed)
        .map_err(DbError::during("deciding on a request"))?;
    Ok(answer.refusal.map_or(Ok(()), Err))
}

/// Takes a grant back, or withdraws a request; in force when it returns, and in the log once [`chain_revocations`] or
/// whoever is next to record puts it there. Why that was refused, where it was.
///
/// # Errors
/// [`DbError`].
pub async fn revoke(
    conn: &mut Connection,
    request: Uuid,
    reason: Option<&str>,
) -> Result<Result<(), AccessRefusal>, DbError> {
    let answer: Answer = sql_query("SELECT pii_vault.revoke_access($1, $2) AS refusal")
        .bind::<SqlUuid, _>(request)
        .bind::<Nullable<Text>, _>(reason)
        .load(conn)
        .await
        .and_then(committed)
        .map_err(DbError::during("revoking a grant"))?;
    Ok(answer.refusal.map_or(Ok(()), Err))
}

/// Puts into the log what revocations are not in it yet.
///
/// # Errors
/// [`DbError`].
pub async fn chain_revocations(conn: &mut Connection) -> Result<(), DbError> {
    sql_query("SELECT pii_vault.chain_revocations()")
        .execute(conn)
        .await
        .map_err(DbError::during("recording a revocation"))?;
    Ok(())
}

/// Requests, latest first: all of them for approvers and auditors, one's own for officers.
///
/// # Errors
/// [`DbError`].
pub async fn list(conn: &mut Connection, selection: &Selection) -> Result<Vec<AccessGrant>, DbError> {
    sql_query(
        "SELECT * FROM pii_vault.list_access() AS g \
         WHERE ($1 IS NULL OR g.id = $1) AND (cardinality($2) = 0 OR g.state = ANY ($2)) \
             AND ($3 IS NULL OR g.case_id = $3) \
         ORDER BY g.requested_at DESC, g.id LIMIT $4",
    )
    .bind::<Nullable<SqlUuid>, _>(selection.id)
    .bind::<Array<sql::AccessState>, _>(&selection.states)
    .bind::<Nullable<Text>, _>(selection.case_id.as_deref())
    .bind::<Nullable<BigInt>, _>(selection.limit.map(i64::from))
    .load(conn)
    .await
    .map_err(DbError::during("listing grants"))
}

/// Whole ones.
pub(super) fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Nullable<sql::AccessRefusal>)]
    refusal: Option<AccessRefusal>,
}
