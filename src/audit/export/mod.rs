//! `audit export`: the log as lines that anybody can verify, without this database and without KMS.

pub(super) mod line;

use std::io::{self, Write};

use serde::Serialize;
use time::OffsetDateTime;

use super::rows::Rows;
use crate::crypto::audit_chain::NO_ENTRY;
use crate::db::audit_log::{self, Filter};
use crate::db::{Connection, DbError, audit_stretch, vault};
use crate::domain::VaultId;
use crate::domain::audit::UnixMicros;
use line::{EntryLine, Header};

/// Entries in memory at a time.
const PAGE: u16 = 500;

/// What of the log is wanted. All of it, where nothing is said.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stretch {
    /// From the first entry that was not recorded before this time.
    pub since: Option<UnixMicros>,
    /// To the last entry that was recorded before this time.
    pub until: Option<UnixMicros>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub struct Exported {
    /// The first entry; one beyond the last where there is none.
    pub first_seq: i64,
    /// The last.
    pub last_seq: i64,
    /// How many entries.
    pub entries: u64,
    /// How many checkpoints.
    pub checkpoints: u64,
}

/// The export is not whole.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It could not be read.
    #[error(transparent)]
    Db(#[from] DbError),
    /// It could not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes a header, then each entry with the checkpoint for it, if there is one, after it; all as it is at one moment.
/// `tell` hears the number of the last entry that was written, and of the last there is. The memory does not grow with
/// the log.
///
/// # Errors
/// [`ExportError`].
pub async fn export(
    conn: &mut Connection,
    stretch: Stretch,
    out: &mut (dyn Write + Send),
    tell: impl Fn(i64, i64),
) -> Result<Exported, ExportError> {
    audit_log::stand_still(conn).await?;
    let vault = vault::id(conn).await?;
    let header = header(conn, vault, stretch).await?;
    write_line(out, &header.to_line())?;
    let mut done = Exported { first_seq: header.first_seq, last_seq: header.last_seq, entries: 0, checkpoints: 0 };
    // Also what stands before the first and after the last, and should not.
    let mut after = if header.begins_the_log() { i64::MIN } else { header.first_seq - 1 };
    let through = if stretch.until.is_none() { i64::MAX } else { header.last_seq };
    let (all, mut rows) = (Filter::default(), Rows::of(vault, after));
    loop {
        let mut entries = audit_log::page(conn, &all, after, PAGE).await?;
        entries.retain(|entry| entry.seq <= through);
        let Some(last) = entries.last().map(|last| last.seq) else { break };
        for entry in &entries {
            write_line(out, &EntryLine::of(vault, entry))?;
            done.entries += 1;
            while let Some(signed) = rows.next_through(conn, entry.seq).await? {
                out.write_all(signed.to_copy().as_bytes())?;
                done.checkpoints += 1;
            }
        }
        after = last;
        tell(last, header.last_seq);
    }
    while let Some(signed) = rows.next_through(conn, through).await? {
        out.write_all(signed.to_copy().as_bytes())?;
        done.checkpoints += 1;
    }
    out.flush()?;
    Ok(done)
}

async fn header(conn: &mut Connection, vault: VaultId, stretch: Stretch) -> Result<Header, DbError> {
    let head = audit_log::head(conn).await?;
    let (mut first_seq, last_seq) = audit_stretch::stretch(conn, stretch.since, stretch.until).await?;
    let hash_before = loop {
        // Zeros also where there should be one, so that the first does not follow.
        let Some(before) = audit_stretch::before(conn, first_seq).await? else { break NO_ENTRY };
        if before.seq == first_seq - 1 {
            break before.hash;
        }
        // Not behind numbers that were passed over: the entry before them is not the one before the first.
        first_seq = before.seq;
    };
    let at = OffsetDateTime::now_utc().into();
    Ok(Header { vault, at, since: stretch.since, until: stretch.until, first_seq, last_seq, hash_before, head })
}

fn write_line(out: &mut (dyn Write + Send), line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line).map_err(io::Error::from)?;
    out.write_all(b"\n")
}
