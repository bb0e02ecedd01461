use std::fmt;

use serde::Serialize;

use super::entry::hex;
use crate::audit::{self, Finding, Note, Report};
use crate::cli::config::DatabaseArgs;
use crate::cli::escaped::Escaped;
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::cli::progress;
use crate::db::Role;
use crate::db::audit_log;

const EXAMPLES: &str = "\
Reads the whole log, as it is at one moment: that no entry is missing, added, moved or changed;
that every read which was allowed follows from the policy, request and approvals before it; and
that the tables which access is judged by say what the log says. Names the first fault of each
kind. The login needs the role pii_vault_auditor.

Who can change the database can also make all hashes anew. Note number and hash of the last entry
elsewhere: a log that still has this entry was not rewritten before it.

Exit status 4: something was changed.

Examples:
  pii-vault audit verify
  pii-vault audit verify --output json | jq '.findings[] | {word, seq, what}'";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(super) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let mut conn = args.database.server()?.connect(Role::Auditor).await?;
    let entries = audit_log::head(&mut conn).await?.seq.unsigned_abs();
    let bar = progress::count(entries, "entries");
    let result = audit::verify(&mut conn, |done, of| {
        bar.set_length(of.max(done).unsigned_abs());
        bar.set_position(done.unsigned_abs());
    })
    .await;
    bar.finish_and_clear();
    let shown = Shown::from(result?);
    output::result(format, &shown, &shown)?;
    Ok(if shown.findings.is_empty() { ExitStatus::Done } else { ExitStatus::IntegrityBroken })
}

#[derive(Serialize)]
struct Shown {
    vault: String,
    entries: i64,
    head: Head,
    first_at: Option<String>,
    last_at: Option<String>,
    findings: Vec<Finding>,
    notes: Vec<Note>,
}

#[derive(Serialize)]
struct Head {
    seq: i64,
    hash: String,
}

impl From<Report> for Shown {
    fn from(report: Report) -> Self {
        Self {
            vault: report.vault.to_string(),
            entries: report.entries,
            head: Head { seq: report.head.seq, hash: hex(&report.head.hash) },
            first_at: report.span.map(|(first, _)| first.to_string()),
            last_at: report.span.map(|(_, last)| last.to_string()),
            findings: report.findings,
            notes: report.notes,
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "vault        {}", self.vault)?;
        writeln!(f, "entries      {}", self.entries)?;
        writeln!(f, "last entry   {}  {}", self.head.seq, self.head.hash)?;
        if let (Some(first), Some(last)) = (&self.first_at, &self.last_at) {
            writeln!(f, "recorded     {first} to {last}")?;
        }
        for Note { word, seq, count, what } in &self.notes {
            let first = seq.map(|seq| format!(", first in entry {seq}")).unwrap_or_default();
            writeln!(f, "note         {what} ({word}, {count} times{first})")?;
        }
        for Finding { word, seq, row, what } in &self.findings {
            let entry = seq.map(|seq| format!("entry {seq}"));
            let place: Vec<_> = entry.iter().chain(row).map(String::as_str).collect();
            writeln!(f, "BROKEN       {}: {} ({word})", Escaped(&place.join(", ")), Escaped(what))?;
        }
        match self.findings.len() {
            0 => writeln!(f, "verified: the log is whole, and what it allowed follows from it"),
            _ => writeln!(f, "not verified: of each kind of fault, the first is named"),
        }
    }
}
