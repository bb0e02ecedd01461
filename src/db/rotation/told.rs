use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Date as SqlDate, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::Position;
use crate::db::enums::sql;
use crate::db::{Connection, DbError};
use crate::domain::RotationFailure;

/// What the audit log says of a job.
#[derive(Clone, Debug, QueryableByName)]
pub struct Told {
    /// The entry.
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    /// When.
    #[diesel(sql_type = Timestamptz)]
    pub at: OffsetDateTime,
    /// Which login.
    #[diesel(sql_type = Text)]
    pub actor: String,
    /// `start`, `pause`, `resume`, `filled`, …
    #[diesel(sql_type = Nullable<Text>)]
    pub step: Option<String>,
    /// Why, where somebody said it.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
}

/// A row or key that a job passed over.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub struct PassedOver {
    /// `create_date` of the row, or the day on which the key was made.
    #[diesel(sql_type = SqlDate)]
    pub day: Date,
    /// The event, or the key.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The data key of the row, or the key.
    #[diesel(sql_type = SqlUuid)]
    pub key_id: Uuid,
    /// Why.
    #[diesel(sql_type = sql::RotationFailure)]
    pub why: RotationFailure,
    /// When it was found.
    #[diesel(sql_type = Timestamptz)]
    pub noted_at: OffsetDateTime,
}

/// What the audit log says of a job, in its order.
///
/// # Errors
/// [`DbError`].
pub async fn history(conn: &mut Connection, job: Uuid) -> Result<Vec<Told>, DbError> {
    sql_query("SELECT * FROM pii_vault.rotation_history($1)")
        .bind::<SqlUuid, _>(job)
        .load(conn)
        .await
        .map_err(DbError::during("reading what the log says of a rotation"))
}

/// Up to `most` rows or keys that a job passed over, beyond `after`, in order.
///
/// # Errors
/// [`DbError`].
pub async fn passed_over(
    conn: &mut Connection,
    job: Uuid,
    after: Option<Position>,
    most: u32,
) -> Result<Vec<PassedOver>, DbError> {
    let (day, id) = after.unzip();
    sql_query(
        "SELECT f.day, f.id, f.key_id, f.why, f.noted_at FROM pii_vault.rotation_failures AS f \
         WHERE f.job = $1 AND ($2 IS NULL OR (f.day, f.id) > ($2, $3)) ORDER BY f.day, f.id LIMIT $4",
    )
    .bind::<SqlUuid, _>(job)
    .bind::<Nullable<SqlDate>, _>(day)
    .bind::<Nullable<SqlUuid>, _>(id)
    .bind::<BigInt, _>(i64::from(most))
    .load(conn)
    .await
    .map_err(DbError::during("reading what a rotation passed over"))
}
