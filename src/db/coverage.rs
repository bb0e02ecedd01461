//! Checkpoints that cover a record of the audit log: what was recorded is read only once one does, where policy asks
//! for that. PostgreSQL cannot verify a signature, so its owner does.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tokio::time::Instant;
use tracing::warn;
use uuid::Uuid;

use super::checkpoints::LastRow;
use super::{Connection, DbError};
use crate::crypto::checkpoint::{CheckpointKey, NotCovered, SignedCheckpoint};
use crate::domain::VaultId;

/// Between two looks; a notary needs milliseconds.
const PAUSE: Duration = Duration::from_millis(20);

/// A record of the login of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// Of a read or a look-up.
    Receipt(Uuid),
    /// Of dead letters that are redriven.
    RedriveJob(Uuid),
}

/// What covers a record, as the database says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Whether policy asks for a checkpoint.
    pub required: bool,
    /// The first checkpoint for the record's entry of the audit log or a later one; not verified.
    pub checkpoint: Option<SignedCheckpoint>,
}

impl Coverage {
    /// Whether the record may be read by: its checkpoint verifies, or policy asks for none. Where a checkpoint covers
    /// it and `key` is not there, that is told.
    ///
    /// # Errors
    /// [`NotCovered`], whatever policy says.
    pub fn holds(&self, vault: VaultId, seq: i64, key: Option<&CheckpointKey>) -> Result<bool, NotCovered> {
        let Some(signed) = &self.checkpoint else { return Ok(!self.required) };
        match key {
            Some(key) => signed.covers(vault, seq, key)?,
            None if self.required => warn!(
                "the signature of the checkpoint that covers the record is not verified: PII_VAULT_CHECKPOINT_PUBLIC_KEY \
                 is not set"
            ),
            None => {}
        }
        Ok(true)
    }
}

/// Waits for a checkpoint that covers the record, `patience` at most, and not at all where policy does not ask for one.
///
/// # Errors
/// [`DbError`].
pub async fn await_checkpoint(conn: &mut Connection, record: Record, patience: Duration) -> Result<Coverage, DbError> {
    let since = Instant::now();
    loop {
        let coverage = of(conn, record).await?;
        if coverage.checkpoint.is_some() || !coverage.required || since.elapsed() >= patience {
            return Ok(coverage);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What covers the record at this moment.
///
/// # Errors
/// [`DbError`].
pub async fn of(conn: &mut Connection, record: Record) -> Result<Coverage, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        required: bool,
        #[diesel(sql_type = SqlUuid)]
        vault: Uuid,
        #[diesel(embed)]
        checkpoint: LastRow,
    }
    let (function, id) = match record {
        Record::Receipt(id) => ("covering_checkpoint", id),
        Record::RedriveJob(id) => ("covering_redrive_checkpoint", id),
    };
    let row: Row = sql_query(format!(
        "SELECT required, vault, seq, head_hash AS signed_hash, previous_hash, at, signing_key, signature \
         FROM pii_vault.{function}($1)",
    ))
    .bind::<SqlUuid, _>(id)
    .get_result(conn)
    .await
    .map_err(DbError::during("reading the checkpoint of a record"))?;
    Ok(Coverage { required: row.required, checkpoint: row.checkpoint.of(VaultId(row.vault))? })
}
