//! `audit verify`: whether the log is what was recorded, and whether what it allows follows from what it says.
//!
//! ```text
//! page of entries ──► chain      gapless, but where a restore is on record, each hash over the one before, and
//!                                the head row at the end
//!                 ──► replay     policy, request and approval before each allowed read
//!                 ──► lists      the rows that a receipt hands out are the rows that were recorded
//! checkpoints     ──► each signed head is the head that the log had: rows of the table, and copies from outside
//! tables          ──► every row that access is judged by has its entry, and the other way round
//! ```
//!
//! An export is verified the same way, without the lists and the tables, which it does not have.
//!
//! Guaranteed: whoever changes, removes, inserts or reorders entries and leaves the rest as it is, is found; and so is
//! who makes all hashes anew, where an allowed entry then breaks the rule, or a table says otherwise.
//! Not guaranteed: who makes all hashes anew, keeps the rule and changes the tables too, shows nothing here, nor does
//! who puts log and tables back to an older state as a whole. Signed checkpoints outside of the database show it, up to
//! the last of them. Whoever owns the database can also record such a rollback as a restore (`audit resume`): then it
//! is no fault, but a note for ever, which says what was lost, who recorded it and why.

mod account;
mod chain;
mod copies;
mod error;
mod evidence;
mod export;
mod finding;
mod lists;
mod offline;
pub mod reconcile;
mod replay;
mod report;
mod rows;
mod walk;

use crate::db::audit_log::{self, Filter};
use crate::db::inspect::restored;
use crate::db::{Connection, audit_tables, vault};
use chain::Chain;
use evidence::Evidence;
use lists::Recorded;
use replay::Replay;
use rows::Rows;
use walk::Walk;

pub use account::{
    Account, Counts, Event, Outcome, Rotated, Scope, Signatures, Signed, TOLD, Tally, account, so_many, what,
};
pub use copies::CopiesError;
pub use error::VerifyError;
pub use evidence::Trusted;
pub use export::{ExportError, Exported, Stretch, export};
pub use finding::{Finding, Note};
pub use offline::verify_export;
pub use report::{Held, Report};

/// Entries in memory at a time.
const PAGE: u16 = 2000;

/// Verifies the whole log. `tell` hears how many entries are done, of how many.
///
/// All is read as it is at one moment, so that a log that grows meanwhile is not taken for a broken one. The memory
/// grows with the requests, with the receipts that nobody finished and with the names of copies, but not with the log.
///
/// # Errors
/// [`VerifyError`]. What is wrong with the log is no error, but in the report.
pub async fn verify(conn: &mut Connection, trusted: Trusted, tell: impl Fn(i64, i64)) -> Result<Report, VerifyError> {
    let evidence = Evidence::of(trusted)?;
    audit_log::stand_still(conn).await?;
    let vault = vault::id(conn).await?;
    let head = audit_log::head(conn).await?;
    let mut walk =
        Walk { report: Report::of(vault, head), chain: Chain::of(vault), replay: Some(Replay::of(vault)), evidence };
    let mut after = i64::MIN;
    let mut rows = Rows::of(vault, after);
    loop {
        let entries = audit_log::page(conn, &Filter::default(), after, PAGE).await?;
        let Some(last) = entries.last() else { break };
        after = last.seq;
        let mut lists = Recorded::default();
        for entry in &entries {
            if let Some(details) = walk.entry(entry)? {
                lists.note(entry, &details);
            }
            while let Some(signed) = rows.next_through(conn, entry.seq).await? {
                walk.row(&signed);
            }
        }
        for (seq, broken) in lists.check(conn).await? {
            walk.report.add(seq, Err(broken));
        }
        tell(walk.report.entries, head.seq);
    }
    while let Some(signed) = rows.next_through(conn, i64::MAX).await? {
        walk.row(&signed);
    }
    for table in audit_tables::Table::ALL {
        for mismatch in audit_tables::mismatches(conn, table).await? {
            walk.report.add_mismatch(table, mismatch);
        }
    }
    walk.report.add_signs(restored::signs(conn).await?);
    let unchained = audit_tables::unchained_revocations(conn).await?;
    walk.end(head, true, unchained)
}
