//! `pii_vault.checkpoints`: signed heads of the audit log.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Binary, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AnsiTransactionManager, RunQueryDsl, TransactionManager as _};
use uuid::Uuid;

use super::audit_log::{COLUMNS, EntryRow, Head, hash, of_postgres, to_postgres};
use super::{Connection, DbError};
use crate::crypto::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::domain::VaultId;
use crate::domain::audit::Entry;

/// On which there is a word whenever something was added to the audit log.
pub const CHANNEL: &str = "pii_vault_audit";

/// Where log and checkpoints stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The last entry; 0 where there is none.
    pub head_seq: i64,
    /// The entry of the last checkpoint; 0 where there is none.
    pub signed_seq: i64,
}

/// Where they stand while nobody else can add a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The vault.
    pub vault: VaultId,
    /// The last entry.
    pub head: Head,
    /// The last checkpoint.
    pub last: Option<SignedCheckpoint>,
}

/// A look, which waits for nobody.
///
/// # Errors
/// [`DbError`].
pub async fn state(conn: &mut Connection) -> Result<State, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        head_seq: i64,
        #[diesel(sql_type = BigInt)]
        signed_seq: i64,
    }
    let row: Row = sql_query("SELECT head_seq, signed_seq FROM pii_vault.notary_state()")
        .get_result(conn)
        .await
        .map_err(DbError::during("looking at the head of the audit log"))?;
    Ok(State { head_seq: row.head_seq, signed_seq: row.signed_seq })
}

/// Sees to it that a crash of the server takes back nothing of what other sessions have committed: they may have done
/// so with `synchronous_commit` off.
///
/// # Errors
/// [`DbError`].
pub async fn reach_disk(conn: &mut Connection) -> Result<(), DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        reached: bool,
    }
    let told = DbError::during("waiting for the disk");
    let row: Row = sql_query("SELECT pg_current_wal_insert_lsn() <= pg_current_wal_flush_lsn() AS reached")
        .get_result(conn)
        .await
        .map_err(&told)?;
    if !row.reached {
        // A commit of our own waits for the disk, and with it all before. It needs something to commit: this touches
        // no table, and whoever replicates the database passes it over.
        sql_query("SELECT pg_logical_emit_message(true, 'pii_vault', '')").execute(conn).await.map_err(&told)?;
    }
    Ok(())
}

/// Begins a transaction which keeps all others from adding a checkpoint until it ends: by [`commit`], or with the
/// connection. `None`: another has done so for 5 s.
///
/// # Errors
/// [`DbError`].
pub async fn begin(conn: &mut Connection) -> Result<Option<Position>, DbError> {
    AnsiTransactionManager::begin_transaction(conn).await.map_err(DbError::during("beginning a transaction"))?;
    let row: Option<PositionRow> = sql_query("SELECT * FROM pii_vault.begin_checkpoint()")
        .get_result(conn)
        .await
        .optional()
        .map_err(DbError::during("reading the last checkpoint"))?;
    row.map(Position::try_from).transpose()
}

/// Entries beyond `after`, up to `through`: 500 at most, in order.
///
/// # Errors
/// [`DbError`].
pub async fn entries(conn: &mut Connection, after: i64, through: i64) -> Result<Vec<Entry>, DbError> {
    let rows: Vec<EntryRow> = sql_query(format!("SELECT {COLUMNS} FROM pii_vault.notary_entries($1, $2)"))
        .bind::<BigInt, _>(after)
        .bind::<BigInt, _>(through)
        .load(conn)
        .await
        .map_err(DbError::during("reading the audit log"))?;
    rows.into_iter().map(Entry::try_from).collect()
}

/// The checkpoints for entries beyond `after`, up to `through`: `most` at most, in order. For auditors.
///
/// # Errors
/// [`DbError`].
pub async fn page(
    conn: &mut Connection,
    vault: VaultId,
    after: i64,
    through: i64,
    most: u16,
) -> Result<Vec<SignedCheckpoint>, DbError> {
    let rows: Vec<LastRow> = sql_query(
        "SELECT seq, head_hash AS signed_hash, previous_hash, at, signing_key, signature FROM pii_vault.checkpoints \
         WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3",
    )
    .bind::<BigInt, _>(after)
    .bind::<BigInt, _>(through)
    .bind::<BigInt, _>(i64::from(most))
    .load(conn)
    .await
    .map_err(DbError::during("reading checkpoints"))?;
    rows.into_iter().filter_map(|row| row.of(vault).transpose()).collect()
}

/// Adds a checkpoint. The database refuses one that does not follow the last or that the log does not hold.
///
/// # Errors
/// [`DbError`].
pub async fn store(conn: &mut Connection, signed: &SignedCheckpoint) -> Result<(), DbError> {
    let checkpoint = &signed.checkpoint;
    sql_query("SELECT pii_vault.store_checkpoint($1, $2, $3, $4, $5, $6)")
        .bind::<BigInt, _>(checkpoint.seq)
        .bind::<Binary, _>(checkpoint.head_hash.as_slice())
        .bind::<Binary, _>(checkpoint.previous_hash.as_slice())
        .bind::<Timestamptz, _>(to_postgres(checkpoint.at))
        .bind::<Text, _>(&signed.signing_key)
        .bind::<Binary, _>(&signed.signature)
        .execute(conn)
        .await
        .map_err(DbError::during("storing a checkpoint"))?;
    Ok(())
}

/// Ends the transaction; what was stored in it is there for all to see.
///
/// # Errors
/// [`DbError`]: it may be there or not.
pub async fn commit(conn: &mut Connection) -> Result<(), DbError> {
    AnsiTransactionManager::commit_transaction(conn).await.map_err(DbError::during("committing a checkpoint"))
}

/// The last one there is. For who may read the table.
///
/// # Errors
/// [`DbError`].
pub async fn last(conn: &mut Connection, vault: VaultId) -> Result<Option<SignedCheckpoint>, DbError> {
    let row: Option<LastRow> = sql_query(
        "SELECT seq, head_hash AS signed_hash, previous_hash, at, signing_key, signature FROM pii_vault.checkpoints \
         ORDER BY seq DESC LIMIT 1",
    )
    .get_result(conn)
    .await
    .optional()
    .map_err(DbError::during("reading the last checkpoint"))?;
    row.map_or(Ok(None), |row| row.of(vault))
}

/// Checkpoints beyond the entry `after`, with the hash that the log has of each one's entry: 500 at most, in order. For
/// who may read the table.
///
/// # Errors
/// [`DbError`].
pub async fn page_beside_log(
    conn: &mut Connection,
    vault: VaultId,
    after: i64,
) -> Result<Vec<(SignedCheckpoint, Option<[u8; 32]>)>, DbError> {
    let rows: Vec<StoredRow> = sql_query(
        "SELECT c.seq, c.head_hash, c.previous_hash, c.at, c.signing_key, c.signature, l.hash AS logged \
         FROM pii_vault.checkpoints AS c LEFT JOIN pii_vault.audit_log AS l ON l.seq = c.seq \
         WHERE c.seq > $1 ORDER BY c.seq LIMIT 500",
    )
    .bind::<BigInt, _>(after)
    .load(conn)
    .await
    .map_err(DbError::during("reading checkpoints"))?;
    rows.into_iter().map(|row| row.checkpoint(vault)).collect()
}

#[derive(QueryableByName)]
struct StoredRow {
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = Binary)]
    head_hash: Vec<u8>,
    #[diesel(sql_type = Binary)]
    previous_hash: Vec<u8>,
    #[diesel(sql_type = Timestamptz)]
    at: diesel::data_types::PgTimestamp,
    #[diesel(sql_type = Text)]
    signing_key: String,
    #[diesel(sql_type = Binary)]
    signature: Vec<u8>,
    #[diesel(sql_type = Nullable<Binary>)]
    logged: Option<Vec<u8>>,
}

impl StoredRow {
    fn checkpoint(self, vault: VaultId) -> Result<(SignedCheckpoint, Option<[u8; 32]>), DbError> {
        let (head_hash, previous_hash) = (hash(&self.head_hash)?, hash(&self.previous_hash)?);
        let checkpoint = Checkpoint { vault, seq: self.seq, head_hash, previous_hash, at: of_postgres(self.at) };
        let logged = self.logged.as_deref().map(hash).transpose()?;
        Ok((SignedCheckpoint { checkpoint, signing_key: self.signing_key, signature: self.signature }, logged))
    }
}

#[derive(QueryableByName)]
struct PositionRow {
    #[diesel(sql_type = SqlUuid)]
    vault: Uuid,
    #[diesel(sql_type = BigInt)]
    head_seq: i64,
    #[diesel(sql_type = Binary)]
    head_hash: Vec<u8>,
    #[diesel(embed)]
    last: LastRow,
}

#[derive(QueryableByName)]
pub(super) struct LastRow {
    #[diesel(sql_type = Nullable<BigInt>)]
    seq: Option<i64>,
    #[diesel(sql_type = Nullable<Binary>)]
    signed_hash: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Binary>)]
    previous_hash: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    at: Option<diesel::data_types::PgTimestamp>,
    #[diesel(sql_type = Nullable<Text>)]
    signing_key: Option<String>,
    #[diesel(sql_type = Nullable<Binary>)]
    signature: Option<Vec<u8>>,
}

impl LastRow {
    /// `None`: there is none.
    pub(super) fn of(self, vault: VaultId) -> Result<Option<SignedCheckpoint>, DbError> {
        let Self {
            seq: Some(seq),
            signed_hash: Some(signed_hash),
            previous_hash: Some(previous_hash),
            at: Some(at),
            signing_key: Some(signing_key),
            signature: Some(signature),
        } = self
        else {
            return Ok(None);
        };
        let (head_hash, previous_hash) = (hash(&signed_hash)?, hash(&previous_hash)?);
        let checkpoint = Checkpoint { vault, seq, head_hash, previous_hash, at: of_postgres(at) };
        Ok(Some(SignedCheckpoint { checkpoint, signing_key, signature }))
    }
}

impl TryFrom<PositionRow> for Position {
    type Error = DbError;

    fn try_from(row: PositionRow) -> Result<Self, DbError> {
        let vault = VaultId(row.vault);
        let head = Head { seq: row.head_seq, hash: hash(&row.head_hash)? };
        Ok(Self { vault, head, last: row.last.of(vault)? })
    }
}
