//! `pii_vault.vault`: the one row that says which vault this is.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::schema::vault;
use super::{Connection, DbError};
use crate::domain::VaultId;

/// The vault's id.
///
/// # Errors
/// [`super::Fault::Missing`] before `init` has made it.
pub async fn id(conn: &mut Connection) -> Result<VaultId, DbError> {
    vault::table.select(vault::id).first(conn).await.map(VaultId).map_err(DbError::during("reading the vault id"))
}

/// Makes `new` the vault's id unless it has one, and returns the one that it has. Safe twice at once.
///
/// # Errors
/// [`DbError`].
pub async fn found(conn: &mut Connection, new: VaultId) -> Result<VaultId, DbError> {
    diesel::insert_into(vault::table)
        .values(vault::id.eq(new.0))
        .on_conflict_do_nothing()
        .execute(conn)
        .await
        .map_err(DbError::during("storing the vault id"))?;
    id(conn).await
}
