//! Bringing an older state of the database back into service, by one entry of the log.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Binary, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;

use super::audit_log::{COLUMNS, EntryRow, Head, to_postgres};
use super::{Connection, DbError};
use crate::crypto::restore::Lost;
use crate::domain::audit::Entry;

/// What was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct Recorded {
    /// The entry.
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    /// How many receipts could still have handed out something.
    #[diesel(sql_type = BigInt)]
    pub closed_receipts: i64,
    /// How many jobs of redriving.
    #[diesel(sql_type = BigInt)]
    pub closed_redrive_jobs: i64,
}

/// Entries of the action `restored` beyond one, in order. For the notary and the owner.
///
/// # Errors
/// [`DbError`].
pub async fn after(conn: &mut Connection, seq: i64) -> Result<Vec<Entry>, DbError> {
    let rows: Vec<EntryRow> = sql_query(format!("SELECT {COLUMNS} FROM pii_vault.notary_restored($1)"))
        .bind::<BigInt, _>(seq)
        .load(conn)
        .await
        .map_err(DbError::during("reading the audit log"))?;
    rows.into_iter().map(Entry::try_from).collect()
}

/// Records it, if the head of the log is still this one; else it is a [`super::Fault::Conflict`]. For the owner.
///
/// # Errors
/// [`DbError`].
pub async fn record(conn: &mut Connection, reason: &str, head: Head, lost: Option<&Lost>) -> Result<Recorded, DbError> {
    let checkpoint = lost.map(|lost| &lost.checkpoint.checkpoint);
    sql_query("SELECT * FROM pii_vault.record_restored($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")
        .bind::<Text, _>(reason)
        .bind::<BigInt, _>(head.seq)
        .bind::<Binary, _>(head.hash.as_slice())
        .bind::<Nullable<BigInt>, _>(lost.map(|lost| lost.after))
        .bind::<Nullable<BigInt>, _>(checkpoint.map(|lost| lost.seq))
        .bind::<Nullable<Binary>, _>(checkpoint.map(|lost| lost.head_hash.as_slice()))
        .bind::<Nullable<Binary>, _>(checkpoint.map(|lost| lost.previous_hash.as_slice()))
        .bind::<Nullable<Timestamptz>, _>(checkpoint.map(|lost| to_postgres(lost.at)))
        .bind::<Nullable<Text>, _>(lost.map(|lost| lost.checkpoint.signing_key.as_str()))
        .bind::<Nullable<Binary>, _>(lost.map(|lost| lost.checkpoint.signature.as_slice()))
        .get_result(conn)
        .await
        .map_err(DbError::during("recording that the log was restored"))
}
