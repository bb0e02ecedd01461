//! Rotations of keys that nobody works on.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel_async::RunQueryDsl;

use crate::db::enums::sql;
use crate::db::{Connection, DbError};
use crate::domain::RotationStep;

/// A rotation that is not done.
#[derive(Clone, Debug, QueryableByName)]
pub struct Unfinished {
    /// Which.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// How far it is.
    #[diesel(sql_type = sql::RotationStep)]
    pub step: RotationStep,
    /// Whether somebody paused it.
    #[diesel(sql_type = Bool)]
    pub paused: bool,
    /// Since it was recorded, or anybody worked on it.
    #[diesel(sql_type = BigInt)]
    pub seconds: i64,
}

/// All of them.
///
/// # Errors
/// [`DbError`].
pub async fn unfinished(conn: &mut Connection) -> Result<Vec<Unfinished>, DbError> {
    let sql = "SELECT j.kind || ' rotation ' || j.id AS name, j.step, j.paused, \
                 extract(epoch FROM clock_timestamp() - greatest(j.recorded_at, j.worked_at, \
                     (SELECT max(r.seen_at) FROM pii_vault.rotation_runners AS r WHERE r.job = j.id)))::bigint AS seconds \
               FROM pii_vault.rotation_jobs AS j WHERE j.ended_at IS NULL ORDER BY j.seq";
    diesel::sql_query(sql).load(conn).await.map_err(DbError::during("looking for rotations that stand"))
}
