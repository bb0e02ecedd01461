use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Date as SqlDate, Integer, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use time::Date;
use uuid::Uuid;

use super::{TokenRefusal, or_refused};
use crate::db::{Connection, DbError};

/// What the rows of a rotation show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct TokenReport {
    /// Rows.
    #[diesel(sql_type = BigInt)]
    pub row_count: i64,
    /// Rows that lack new tokens.
    #[diesel(sql_type = BigInt)]
    pub only_old: i64,
    /// Those among them that did not open.
    #[diesel(sql_type = BigInt)]
    pub passed_over: i64,
    /// Rows that did not open, and have new tokens that stand in.
    #[diesel(sql_type = BigInt)]
    pub stand_ins: i64,
    /// Rows that lack old tokens.
    #[diesel(sql_type = BigInt)]
    pub only_new: i64,
    /// Rows that name other token keys.
    #[diesel(sql_type = BigInt)]
    pub other_keys: i64,
    /// Rows whose old tokens are not those of their values. What is in their old slots is in no other count.
    #[diesel(sql_type = BigInt)]
    pub mismatched: i64,
    /// Distinct old tokens of ips.
    #[diesel(sql_type = BigInt)]
    pub old_ips: i64,
    /// Distinct new tokens of ips.
    #[diesel(sql_type = BigInt)]
    pub new_ips: i64,
    /// Distinct pairs of them.
    #[diesel(sql_type = BigInt)]
    pub ip_pairs: i64,
    /// Distinct old tokens of device ids.
    #[diesel(sql_type = BigInt)]
    pub old_device_ids: i64,
    /// Distinct new tokens of device ids.
    #[diesel(sql_type = BigInt)]
    pub new_device_ids: i64,
    /// Distinct pairs of them.
    #[diesel(sql_type = BigInt)]
    pub device_id_pairs: i64,
}

impl TokenReport {
    /// Whether each row has tokens of both keys, and there is one new token for each old one and the other way around:
    /// then both show the same groups of duplicates.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.only_old + self.only_new + self.other_keys == 0 && self.shows_the_same()
    }

    /// Whether there is one new token for each old one and the other way around.
    #[must_use]
    pub fn shows_the_same(&self) -> bool {
        self.old_ips == self.ip_pairs
            && self.new_ips == self.ip_pairs
            && self.old_device_ids == self.device_id_pairs
            && self.new_device_ids == self.device_id_pairs
    }
}

/// A row that a [`TokenReport`] does not add up for.
#[derive(Clone, Debug, QueryableByName)]
pub struct TokenDifference {
    /// Its day.
    #[diesel(sql_type = SqlDate)]
    pub create_date: Date,
    /// The event.
    #[diesel(sql_type = SqlUuid)]
    pub event_id: Uuid,
    /// `no_new_token`, `no_old_token`, `other_key`, `ip_old_token_has_several`, …
    #[diesel(sql_type = Text)]
    pub difference: String,
}

/// What all rows show, of a rotation that has filled them.
///
/// # Errors
/// [`DbError`].
pub async fn report(conn: &mut Connection, job: Uuid) -> Result<Result<TokenReport, TokenRefusal>, DbError> {
    let report = sql_query("SELECT * FROM pii_vault.token_report($1)").bind::<SqlUuid, _>(job).get_result(conn).await;
    or_refused(report, "comparing tokens")
}

/// Rows that the report does not add up for, `most` at most.
///
/// # Errors
/// [`DbError`].
pub async fn differences(conn: &mut Connection, job: Uuid, most: i32) -> Result<Vec<TokenDifference>, DbError> {
    sql_query("SELECT * FROM pii_vault.token_differences($1, $2)")
        .bind::<SqlUuid, _>(job)
        .bind::<Integer, _>(most)
        .load(conn)
        .await
        .map_err(DbError::during("listing differences"))
}
