//! What stands in the tables: counts and ages, never values.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Date as SqlDate};
use diesel_async::RunQueryDsl;

use super::super::{Connection, DbError};
use super::lines;
use crate::domain::{Month, Purpose};

/// Newest rows that [`orphans`] looks at.
pub const SAMPLE: i64 = 10_000;

/// Rows of the sample that name keys which are not there.
#[derive(Debug, PartialEq, Eq, QueryableByName)]
pub struct Orphans {
    /// Events whose data key is unknown: what they seal cannot be opened.
    #[diesel(sql_type = BigInt)]
    pub without_data_key: i64,
    /// Events with tokens under an unknown key.
    #[diesel(sql_type = BigInt)]
    pub without_token_key: i64,
    /// Dead letters whose key is unknown.
    #[diesel(sql_type = BigInt)]
    pub letters_without_key: i64,
}

/// Looks for keys that rows name and that are not there, among the newest [`SAMPLE`] rows of each table.
///
/// # Errors
/// [`DbError`].
pub async fn orphans(conn: &mut Connection) -> Result<Orphans, DbError> {
    let sql = "\
        SELECT count(*) FILTER (WHERE kind = 'e' AND sealed_by IS NULL) AS without_data_key, \
            count(*) FILTER (WHERE kind = 'e' AND NOT tokens_known) AS without_token_key, \
            count(*) FILTER (WHERE kind = 'l' AND sealed_by IS NULL) AS letters_without_key \
        FROM ( \
            SELECT 'e' AS kind, k.id AS sealed_by, \
                (e.token_key_a IS NULL OR EXISTS (SELECT FROM pii_vault.token_keys AS t WHERE t.id = e.token_key_a)) \
                AND (e.token_key_b IS NULL OR EXISTS (SELECT FROM pii_vault.token_keys AS t WHERE t.id = e.token_key_b)) \
                AS tokens_known \
            FROM (SELECT * FROM pii_vault.login_events ORDER BY create_date DESC, event_id DESC LIMIT $1) AS e \
            LEFT JOIN pii_vault.data_keys AS k ON k.id = e.data_key_id \
            UNION ALL SELECT 'l', k.id, true \
            FROM (SELECT * FROM pii_vault.dead_letters ORDER BY create_date DESC, message_id DESC LIMIT $1) AS d \
            LEFT JOIN pii_vault.dead_letter_keys AS k ON k.id = d.dead_letter_key_id \
        ) AS rows";
    diesel::sql_query(sql)
        .bind::<BigInt, _>(SAMPLE)
        .get_result(conn)
        .await
        .map_err(DbError::during("looking for keys of rows"))
}

/// Each vault id; there is to be one.
///
/// # Errors
/// [`DbError`].
pub async fn vaults(conn: &mut Connection) -> Result<Vec<String>, DbError> {
    lines(conn, "reading the vault id", "SELECT id::text AS line FROM pii_vault.vault").await
}

/// The active token key's age in days; there is to be one.
///
/// # Errors
/// [`DbError`].
pub async fn token_key_ages(conn: &mut Connection) -> Result<Vec<i64>, DbError> {
    ages(conn, "SELECT created_at FROM pii_vault.token_keys WHERE state = 'active'").await
}

/// Ages in days of data keys and dead-letter keys that may open rows.
///
/// # Errors
/// [`DbError`].
pub async fn sealing_key_ages(conn: &mut Connection) -> Result<Vec<(Purpose, i64)>, DbError> {
    let mut found = Vec::new();
    for (purpose, sql) in [
        (Purpose::Data, "SELECT created_at FROM pii_vault.data_keys WHERE state <> 'retired'"),
        (Purpose::DeadLetter, "SELECT created_at FROM pii_vault.dead_letter_keys WHERE state <> 'retired'"),
    ] {
        found.extend(ages(conn, sql).await?.into_iter().map(|days| (purpose, days)));
    }
    Ok(found)
}

/// Dead letters by reason, as `invalid_ip 12`, most first.
///
/// # Errors
/// [`DbError`].
pub async fn dead_letters(conn: &mut Connection) -> Result<Vec<(String, i64)>, DbError> {
    #[derive(QueryableByName)]
    struct Counted {
        #[diesel(sql_type = diesel::sql_types::Text)]
        reason: String,
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let sql = "SELECT reason::text, count(*) FROM pii_vault.dead_letters GROUP BY 1 ORDER BY 2 DESC, 1";
    let rows: Vec<Counted> =
        diesel::sql_query(sql).load(conn).await.map_err(DbError::during("counting dead letters"))?;
    Ok(rows.into_iter().map(|row| (row.reason, row.count)).collect())
}

/// Whether the month has a partition.
///
/// # Errors
/// [`DbError`].
pub async fn has_partition(conn: &mut Connection, month: Month) -> Result<bool, DbError> {
    #[derive(QueryableByName)]
    struct There {
        #[diesel(sql_type = diesel::sql_types::Bool)]
        there: bool,
    }
    let sql = "SELECT EXISTS (SELECT FROM pg_inherits AS i JOIN pg_class AS parent ON parent.oid = i.inhparent \
               JOIN pg_class AS c ON c.oid = i.inhrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace \
               WHERE n.nspname = 'pii_vault' AND parent.relname = 'login_events' \
               AND c.relname = 'login_events_' || to_char($1, 'YYYY_MM')) AS there";
    diesel::sql_query(sql)
        .bind::<SqlDate, _>(month.first_day())
        .get_result(conn)
        .await
        .map(|row: There| row.there)
        .map_err(DbError::during("looking for a partition"))
}

async fn ages(conn: &mut Connection, created_at: &str) -> Result<Vec<i64>, DbError> {
    #[derive(QueryableByName)]
    struct Age {
        #[diesel(sql_type = BigInt)]
        days: i64,
    }
    let sql = format!(
        "SELECT extract(epoch FROM clock_timestamp() - created_at)::bigint / 86400 AS days FROM ({created_at}) AS k"
    );
    let rows: Vec<Age> = diesel::sql_query(sql).load(conn).await.map_err(DbError::during("reading ages of keys"))?;
    Ok(rows.into_iter().map(|row| row.days).collect())
}
