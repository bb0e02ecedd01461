//! `pii_vault.receipts`: a committed record that permits reading a fixed list of rows.
//!
//! [`record_unmask`] → [`arm_receipt`] → [`fetch_unmask`] → [`settle_unmask`], each in a transaction of its own, which
//! is committed when it returns; the database refuses any other order, whoever asks.

mod rows;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Date as SqlDate, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use time::Date;
use uuid::Uuid;

pub use rows::{OpenFailure, PAGE, SealedRow, fetch_unmask, settle_unmask};

use super::committed::committed;
use super::enums::sql;
use super::{Connection, DbError};
use crate::domain::{AccessRefusal, Field, VaultId};

/// Which rows: any value of a kind, and all kinds that are given. Days alone count with both ends.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    /// Events.
    pub event_ids: Vec<Uuid>,
    /// Users.
    pub user_ids: Vec<String>,
    /// Tokens of ips, as analysts see them.
    pub masked_ips: Vec<String>,
    /// Tokens of device ids.
    pub masked_device_ids: Vec<String>,
    /// The first UTC day.
    pub since: Option<Date>,
    /// The last UTC day.
    pub until: Option<Date>,
}

/// What somebody wants to open, and why.
#[derive(Clone, Debug)]
pub struct UnmaskRequest {
    /// Which fields.
    pub fields: Vec<Field>,
    /// Of which rows.
    pub selector: Selector,
    /// Why: 1 to 1,000 characters.
    pub reason: String,
    /// For which case.
    pub case_id: String,
    /// The grant to charge; `None`: the newest that fits, or what may be opened alone.
    pub grant: Option<Uuid>,
    /// Only ask what would be decided.
    pub dry_run: bool,
}

/// What was decided about a receipt.
#[derive(Clone, Copy, Debug)]
pub struct Decision {
    /// The vault.
    pub vault: VaultId,
    /// Its entry of the audit log.
    pub seq: i64,
    /// Why it permits nothing; `None`: it was allowed.
    pub refusal: Option<AccessRefusal>,
    /// The grant that is charged; `None`: what may be opened alone.
    pub grant: Option<Uuid>,
    /// Rows of its list.
    pub rows: i32,
    /// Values that are charged: rows times fields.
    pub values: i32,
}

/// Records what is to be opened and charges it. Whether it is allowed, [`arm_receipt`] tells.
///
/// # Errors
/// [`DbError`]. Where the answer was lost, the record may stand and be charged.
pub async fn record_unmask(conn: &mut Connection, request: &UnmaskRequest) -> Result<Uuid, DbError> {
    #[derive(QueryableByName)]
    struct Receipt {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    let UnmaskRequest { fields, selector, reason, case_id, grant, dry_run } = request;
    let receipt: Receipt =
        sql_query("SELECT pii_vault.record_unmask($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) AS id")
            .bind::<Array<sql::SealedField>, _>(fields)
            .bind::<Array<SqlUuid>, _>(&selector.event_ids)
            .bind::<Array<Text>, _>(&selector.user_ids)
            .bind::<Array<Text>, _>(&selector.masked_ips)
            .bind::<Array<Text>, _>(&selector.masked_device_ids)
            .bind::<Nullable<SqlDate>, _>(selector.since)
            .bind::<Nullable<SqlDate>, _>(selector.until)
            .bind::<Text, _>(reason)
            .bind::<Text, _>(case_id)
            .bind::<Nullable<SqlUuid>, _>(grant)
            .bind::<Bool, _>(dry_run)
            .load(conn)
            .await
            .and_then(committed)
            .map_err(DbError::during("recording what is to be opened"))?;
    Ok(receipt.id)
}

/// Tells what was decided, and arms what was allowed. Can be called again.
///
/// # Errors
/// [`DbError`].
pub async fn arm_receipt(conn: &mut Connection, receipt: Uuid) -> Result<Decision, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        vault: Uuid,
        #[diesel(sql_type = BigInt)]
        seq: i64,
        #[diesel(sql_type = Nullable<sql::AccessRefusal>)]
        refusal: Option<AccessRefusal>,
        #[diesel(sql_type = Nullable<SqlUuid>)]
        grant_id: Option<Uuid>,
        #[diesel(sql_type = Integer)]
        row_count: i32,
        #[diesel(sql_type = Integer)]
        value_count: i32,
    }
    let row: Row =
        sql_query("SELECT vault, seq, refusal, grant_id, row_count, value_count FROM pii_vault.arm_receipt($1)")
            .bind::<SqlUuid, _>(receipt)
            .load(conn)
            .await
            .and_then(committed)
            .map_err(DbError::during("arming a receipt"))?;
    Ok(Decision {
        vault: VaultId(row.vault),
        seq: row.seq,
        refusal: row.refusal,
        grant: row.grant_id,
        rows: row.row_count,
        values: row.value_count,
    })
}

/// Records that fetching was refused, and tells why. `None`: it is not any more.
///
/// # Errors
/// [`DbError`].
pub async fn record_refusal(conn: &mut Connection, receipt: Uuid) -> Result<Option<AccessRefusal>, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<sql::AccessRefusal>)]
        refusal: Option<AccessRefusal>,
    }
    let row: Row = sql_query("SELECT pii_vault.record_refusal($1) AS refusal")
        .bind::<SqlUuid, _>(receipt)
        .load(conn)
        .await
        .and_then(committed)
        .map_err(DbError::during("recording a refusal"))?;
    Ok(row.refusal)
}
