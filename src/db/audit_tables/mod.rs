//! Whether the tables that access is judged by say what the audit log says.

mod access;
mod rotations;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::RunQueryDsl;

use super::{Connection, DbError};

/// A table that follows from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// What may be opened.
    Policy,
    /// What was asked for.
    Requests,
    /// What was approved and denied.
    Decisions,
    /// What was taken back.
    Revocations,
    /// What may be handed out.
    Receipts,
    /// Rows of receipts that hand out none.
    ReceiptRows,
    /// Which dead letters may be handed out.
    RedriveJobs,
    /// Which keys are rotated, and which rows are handed out for that.
    RotationJobs,
    /// Which samples and maps are handed out for that.
    RotationHandouts,
    /// Which KMS keys may not wrap any more.
    RetiredKmsKeys,
    /// Which rows were taken out of the events.
    SetAsideEvents,
}

/// How the two differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The table has a row that no entry speaks of.
    NotLogged,
    /// The entry's row is gone.
    Gone,
    /// The row is not as the entry has it.
    Differs,
}

/// A row of a table, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The entry, where there is one.
    pub seq: Option<i64>,
    /// The row's id.
    pub row: String,
    /// What is wrong.
    pub difference: Difference,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Policy,
        Self::Requests,
        Self::Decisions,
        Self::Revocations,
        Self::Receipts,
        Self::ReceiptRows,
        Self::RedriveJobs,
        Self::RotationJobs,
        Self::RotationHandouts,
        Self::RetiredKmsKeys,
        Self::SetAsideEvents,
    ];

    /// Its name in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Policy => "access_policy",
            Self::Requests => "access_requests",
            Self::Decisions => "access_decisions",
            Self::Revocations => "access_revocations",
            Self::Receipts => "receipts",
            Self::ReceiptRows => "receipt_rows",
            Self::RedriveJobs => "redrive_jobs",
            Self::RotationJobs => "rotation_jobs",
            Self::RotationHandouts => "rotation_handouts",
            Self::RetiredKmsKeys => "retired_kms_keys",
            Self::SetAsideEvents => "set_aside_events",
        }
    }

    /// Members of `details` are compared as text: a cast would fail on what somebody put there.
    fn query(self) -> &'static str {
        match self {
            Self::Policy => access::POLICY,
            Self::Requests => access::REQUESTS,
            Self::Decisions => access::DECISIONS,
            Self::Revocations => access::REVOCATIONS,
            Self::Receipts => access::RECEIPTS,
            Self::ReceiptRows => access::RECEIPT_ROWS,
            Self::RedriveJobs => access::REDRIVE_JOBS,
            Self::RotationJobs => rotations::ROTATION_JOBS,
            Self::RotationHandouts => rotations::ROTATION_HANDOUTS,
            Self::RetiredKmsKeys => rotations::RETIRED_KMS_KEYS,
            Self::SetAsideEvents => rotations::SET_ASIDE_EVENTS,
        }
    }
}

/// Compares a table with the log: of each difference the first row. Call it where nothing changes meanwhile
/// ([`super::audit_log::stand_still`]).
///
/// # Errors
/// [`DbError`].
pub async fn mismatches(conn: &mut Connection, table: Table) -> Result<Vec<Mismatch>, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<BigInt>)]
        seq: Option<i64>,
        #[diesel(sql_type = Nullable<Text>)]
        id: Option<String>,
        #[diesel(sql_type = Text)]
        how: String,
    }
    let sql = format!("SELECT DISTINCT ON (how) seq, id, how FROM ({}) AS m ORDER BY how, seq, id", table.query());
    let rows: Vec<Row> =
        sql_query(sql).load(conn).await.map_err(DbError::during("comparing a table with the audit log"))?;
    let difference = |how: &str| match how {
        "not logged" => Difference::NotLogged,
        "gone" => Difference::Gone,
        _ => Difference::Differs,
    };
    Ok(rows
        .into_iter()
        .map(|row| Mismatch { seq: row.seq, row: row.id.unwrap_or_default(), difference: difference(&row.how) })
        .collect())
}

/// How many revocations are in force that the log does not have yet: the next who appends adds them.
///
/// # Errors
/// [`DbError`].
pub async fn unchained_revocations(conn: &mut Connection) -> Result<u64, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let row: Row = sql_query("SELECT count(*) FROM pii_vault.access_revocations WHERE seq IS NULL")
        .get_result(conn)
        .await
        .map_err(DbError::during("counting revocations"))?;
    Ok(row.count.unsigned_abs())
}
