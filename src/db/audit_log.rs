//! `pii_vault.audit_log`: what was done, by whom and why, in one chain of hashes.

use diesel::sql_query;
use diesel::sql_types::{Bool, Integer};
use diesel_async::RunQueryDsl;

use super::{Connection, DbError};

/// Records that the schema was made or brought up to date; nothing where it was not, and the log has its beginning. `conn` is under the owner's role.
///
/// # Errors
/// [`DbError`].
pub async fn record_init(conn: &mut Connection, migrations: usize, made_token_key: bool) -> Result<(), DbError> {
    sql_query("SELECT pii_vault.record_init($1, $2)")
        .bind::<Integer, _>(i32::try_from(migrations).unwrap_or(i32::MAX))
        .bind::<Bool, _>(made_token_key)
        .execute(conn)
        .await
        .map_err(DbError::during("recording the init"))?;
    Ok(())
}
