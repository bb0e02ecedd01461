use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::db::enums::sql;
use crate::db::{Connection, DbError};
use crate::domain::{KeyId, Purpose, RotationKind, RotationStep, TokenSlot};

/// A rotation as it stands.
#[derive(Clone, Debug, QueryableByName)]
pub struct Job {
    /// Its id, the subject of its entries in the audit log.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Which kind of key.
    #[diesel(sql_type = sql::RotationKind)]
    pub kind: RotationKind,
    /// What the keys are for.
    #[diesel(sql_type = sql::KeyPurpose)]
    pub purpose: Purpose,
    /// The entry of the audit log that records it.
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    /// When it was recorded.
    #[diesel(sql_type = Timestamptz)]
    pub recorded_at: OffsetDateTime,
    /// By which login.
    #[diesel(sql_type = Text)]
    pub actor: String,
    /// Why.
    #[diesel(sql_type = Text)]
    pub reason: String,
    /// The keys to leave: of a data-key rotation, or the one of a token-key rotation.
    #[diesel(sql_type = Array<SqlUuid>)]
    pub old_keys: Vec<Uuid>,
    /// The new token key.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub new_key: Option<Uuid>,
    /// The slot of the old token key.
    #[diesel(sql_type = Nullable<sql::TokenSlot>)]
    pub old_slot: Option<TokenSlot>,
    /// ARN of the KMS key to wrap under.
    #[diesel(sql_type = Nullable<Text>)]
    pub target_kms_key: Option<String>,
    /// Keys that the target wrapped before this are wrapped anew too.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub wrapped_before: Option<OffsetDateTime>,
    /// How far it is.
    #[diesel(sql_type = sql::RotationStep)]
    pub step: RotationStep,
    /// Whether it is paused.
    #[diesel(sql_type = Bool)]
    pub paused: bool,
    /// Of a token key: whether the old key stays.
    #[diesel(sql_type = Bool)]
    pub rolled_back: bool,
    /// Rows or keys when it was recorded.
    #[diesel(sql_type = BigInt)]
    pub total: i64,
    /// Changed since.
    #[diesel(sql_type = BigInt)]
    pub changed: i64,
    /// Passed over.
    #[diesel(sql_type = BigInt)]
    pub failed: i64,
    /// When a runner last worked on it.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub worked_at: Option<OffsetDateTime>,
    /// When it ended.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub ended_at: Option<OffsetDateTime>,
    /// Runners that were seen within the last minute.
    #[diesel(sql_type = BigInt)]
    pub runners: i64,
}

impl Job {
    /// Of a rotation of the token key that is over: the key that stays, and the one that was given up.
    #[must_use]
    pub fn kept_and_given_up(&self) -> Option<(KeyId, KeyId)> {
        let (old, new) = (KeyId(*self.old_keys.as_slice().first()?), KeyId(self.new_key?));
        Some(if self.rolled_back { (old, new) } else { (new, old) })
    }
}

const COLUMNS: &str = "\
    SELECT j.id, j.kind, j.purpose, j.seq, j.recorded_at, j.actor, j.reason, j.old_keys, j.new_key, j.old_slot, \
    j.target_kms_key, j.wrapped_before, j.step, j.paused, j.rolled_back, j.total, j.changed, j.failed, j.worked_at, \
    j.ended_at, (SELECT count(*) FROM pii_vault.rotation_runners AS r \
        WHERE r.job = j.id AND r.seen_at > clock_timestamp() - interval '1 minute') AS runners \
    FROM pii_vault.rotation_jobs AS j";

/// The rotation of a kind and purpose that has not ended: there is one at most.
///
/// # Errors
/// [`DbError`].
pub async fn unfinished(conn: &mut Connection, kind: RotationKind, purpose: Purpose) -> Result<Option<Job>, DbError> {
    sql_query(format!("{COLUMNS} WHERE j.kind = $1 AND j.purpose = $2 AND j.ended_at IS NULL"))
        .bind::<sql::RotationKind, _>(kind)
        .bind::<sql::KeyPurpose, _>(purpose)
        .get_result(conn)
        .await
        .optional()
        .map_err(DbError::during("reading a rotation"))
}

/// All rotations, the latest first.
///
/// # Errors
/// [`DbError`].
pub async fn all(conn: &mut Connection) -> Result<Vec<Job>, DbError> {
    sql_query(format!("{COLUMNS} ORDER BY j.seq DESC"))
        .load(conn)
        .await
        .map_err(DbError::during("reading the rotations"))
}
