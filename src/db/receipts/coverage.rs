use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tokio::time::Instant;
use uuid::Uuid;

use crate::crypto::checkpoint::SignedCheckpoint;
use crate::db::checkpoints::LastRow;
use crate::db::{Connection, DbError};
use crate::domain::VaultId;

/// Between two looks; a notary needs milliseconds.
const PAUSE: Duration = Duration::from_millis(20);

/// What covers a receipt, as the database says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Whether policy asks for a checkpoint.
    pub required: bool,
    /// The first checkpoint for the receipt's entry of the audit log or a later one; not verified.
    pub checkpoint: Option<SignedCheckpoint>,
}

/// Waits for a checkpoint that covers the receipt, `patience` at most, and not at all where policy does not ask for one.
///
/// # Errors
/// [`DbError`].
pub async fn await_checkpoint(conn: &mut Connection, receipt: Uuid, patience: Duration) -> Result<Coverage, DbError> {
    let since = Instant::now();
    loop {
        let coverage = coverage(conn, receipt).await?;
        if coverage.checkpoint.is_some() || !coverage.required || since.elapsed() >= patience {
            return Ok(coverage);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn coverage(conn: &mut Connection, receipt: Uuid) -> Result<Coverage, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        required: bool,
        #[diesel(sql_type = SqlUuid)]
        vault: Uuid,
        #[diesel(embed)]
        checkpoint: LastRow,
    }
    let row: Row = sql_query(
        "SELECT required, vault, seq, head_hash AS signed_hash, previous_hash, at, signing_key, signature \
         FROM pii_vault.covering_checkpoint($1)",
    )
    .bind::<SqlUuid, _>(receipt)
    .get_result(conn)
    .await
    .map_err(DbError::during("reading the checkpoint of a receipt"))?;
    Ok(Coverage { required: row.required, checkpoint: row.checkpoint.of(VaultId(row.vault))? })
}
