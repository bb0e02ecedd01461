//! `audit verify`: whether the log is what was recorded, and whether what it allows follows from what it says.
//!
//! ```text
//! page of entries ──► chain      gapless, each hash over the one before, and the head row at the end
//!                 ──► replay     policy, request and approval before each allowed read
//!                 ──► lists      the rows that a receipt hands out are the rows that were recorded
//! tables          ──► every row that access is judged by has its entry, and the other way round
//! ```
//!
//! Guaranteed: whoever changes, removes, inserts or reorders entries and leaves the rest as it is, is found; and so is
//! who makes all hashes anew, where an allowed entry then breaks the rule, or a table says otherwise.
//! Not guaranteed: who makes all hashes anew, keeps the rule and changes the tables too, shows nothing here, nor does
//! who puts log and tables back to an older state as a whole. Signed checkpoints outside of the database show it.

mod chain;
mod finding;
mod lists;
mod replay;
mod report;

use crate::db::audit_log::{self, Filter};
use crate::db::{Connection, DbError, audit_tables, vault};
use crate::domain::audit::Details;
use chain::Chain;
use finding::Broken;
use lists::Recorded;
use replay::Replay;

pub use finding::{Finding, Note};
pub use report::Report;

/// Entries in memory at a time.
const PAGE: u16 = 2000;

/// Verifies the whole log. `tell` hears how many entries are done, of how many.
///
/// All is read as it is at one moment, so that a log that grows meanwhile is not taken for a broken one. The memory
/// grows with the requests, and with the receipts that nobody finished, but not with the log.
///
/// # Errors
/// [`DbError`]. What is wrong with the log is no error, but in the report.
pub async fn verify(conn: &mut Connection, tell: impl Fn(i64, i64)) -> Result<Report, DbError> {
    audit_log::stand_still(conn).await?;
    let vault = vault::id(conn).await?;
    let head = audit_log::head(conn).await?;
    let mut report = Report::of(vault, head);
    let (mut chain, mut replay) = (Chain::of(vault), Replay::of(vault));
    let mut after = i64::MIN;
    loop {
        let entries = audit_log::page(conn, &Filter::default(), after, PAGE).await?;
        let Some(last) = entries.last() else { break };
        after = last.seq;
        let mut lists = Recorded::default();
        for entry in &entries {
            report.count(entry);
            report.add(entry.seq, chain.follow(entry));
            match Details::of(entry) {
                Ok(details) => {
                    lists.note(entry, &details);
                    report.add(entry.seq, replay.follow(entry, &details));
                }
                Err(error) => report.add(entry.seq, Err(Broken::new("details", error.to_string()))),
            }
        }
        for (seq, broken) in lists.check(conn).await? {
            report.add(seq, Err(broken));
        }
        tell(report.entries, head.seq);
    }
    report.add(head.seq, chain.ends_at(head));
    for table in audit_tables::Table::ALL {
        for mismatch in audit_tables::mismatches(conn, table).await? {
            report.add_mismatch(table, mismatch);
        }
    }
    report.conclude(replay.unchecked_pattern(), audit_tables::unchained_revocations(conn).await?);
    Ok(report)
}
