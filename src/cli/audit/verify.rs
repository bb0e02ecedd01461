use std::fmt;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;

use super::entry::hex;
use crate::audit::{self, Finding, Note, Report, Trusted};
use crate::cli::config::{DatabaseArgs, checkpoint_key};
use crate::cli::escaped::Escaped;
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::cli::progress;
use crate::db::Role;
use crate::db::audit_log;

const EXAMPLES: &str = "\
Reads the whole log, as it is at one moment: that no entry is missing, added, moved or changed;
that every read which was allowed follows from the policy, request and approvals before it; that
each checkpoint is for the hash that its entry has; and that the tables which access is judged by
say what the log says. Names the first fault of each kind. The login needs the role
pii_vault_auditor.

Who can change the database can also make all hashes anew, but not the signatures: copies of
checkpoints from elsewhere, and the public key, show it for all that they were signed for. Without
them, note number and hash of the last entry: a log that still has it was not rewritten before it.

With --export no database and no AWS is needed. An export holds the log and its checkpoints, not
the tables. Copy the checkpoints before you export, or some are for entries that it cannot have.

That an older state was restored and is in service again is a note, not a fault, where the entry of
`pii-vault audit resume` fits and names a checkpoint that verifies. Ask for the incident.

Exit status 4: something was changed.

Examples:
  pii-vault audit verify
  pii-vault audit verify --checkpoints /mnt/worm/checkpoints --public-key checkpoint-key.pem
  pii-vault audit verify --export log.jsonl --checkpoints copies --public-key checkpoint-key.pem
  pii-vault audit verify --output json | jq '.findings[] | {word, seq, what}'";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// Verify what `audit export` wrote, in place of the database; - reads standard input
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// A directory with copies of checkpoints, as the notary writes them; can be repeated
    #[arg(long, value_name = "DIR")]
    checkpoints: Vec<PathBuf>,
    /// The public key (PEM) of checkpoints, as `audit public-key` prints it
    #[arg(long, value_name = "FILE", env = "PII_VAULT_CHECKPOINT_PUBLIC_KEY", hide_env_values = true)]
    public_key: Option<PathBuf>,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(super) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let public_key = args.public_key.as_deref().map(checkpoint_key).transpose()?;
    let trusted = Trusted { copies: args.checkpoints, public_key };
    let bar = progress::count(0, "entries");
    let tell = |done: i64, of: i64| {
        bar.set_length(of.max(done).unsigned_abs());
        bar.set_position(done.unsigned_abs());
    };
    let is_export = args.export.is_some();
    let result = match args.export {
        None => {
            let mut conn = args.database.server()?.connect(Role::Auditor).await?;
            bar.set_length(audit_log::head(&mut conn).await?.seq.unsigned_abs());
            audit::verify(&mut conn, trusted, tell).await
        }
        Some(path) if path.as_os_str() == "-" => audit::verify_export(io::stdin().lock(), trusted, tell),
        Some(path) => {
            let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
            audit::verify_export(BufReader::new(file), trusted, tell)
        }
    };
    bar.finish_and_clear();
    let shown = Shown { is_export, ..Shown::from(result?) };
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
    /// Where it is a part of the log.
    part: Option<Part>,
    signed: Option<Signed>,
    findings: Vec<Finding>,
    notes: Vec<Note>,
    #[serde(skip)]
    unsigned: i64,
    #[serde(skip)]
    is_export: bool,
}

#[derive(Serialize)]
struct Part {
    first_seq: i64,
    last_seq: i64,
}

/// The last signature that was verified.
#[derive(Serialize)]
struct Signed {
    seq: i64,
    at: String,
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
            part: report.part.map(|(first_seq, last_seq)| Part { first_seq, last_seq }),
            signed: report.held.map(|held| Signed { seq: held.seq, at: held.at.to_string() }),
            unsigned: report.unsigned,
            is_export: false,
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
        if let Some(Signed { seq, at }) = &self.signed {
            writeln!(f, "signed       up to entry {seq}, at {at}")?;
        }
        for Note { word, seq, count, what } in &self.notes {
            let first = seq.map(|seq| format!(", first in entry {seq}")).unwrap_or_default();
            let what = Escaped(what);
            writeln!(f, "note         {what} ({word}, {count} times{first})")?;
        }
        for Finding { word, seq, row, what } in &self.findings {
            let entry = seq.map(|seq| format!("entry {seq}"));
            let place: Vec<_> = entry.iter().chain(row).map(String::as_str).collect();
            writeln!(f, "BROKEN       {}: {} ({word})", Escaped(&place.join(", ")), Escaped(what))?;
        }
        match self.findings.len() {
            0 => writeln!(f, "verified: {}{}", self.whole(), self.signature()),
            _ => writeln!(f, "not verified: of each kind of fault, the first is named"),
        }
    }
}

impl Shown {
    fn whole(&self) -> String {
        match &self.part {
            None => "the log is whole, and what it allowed follows from it".to_owned(),
            Some(Part { first_seq, last_seq }) if first_seq > last_seq => {
                "of the log, which has no entry here,".to_owned()
            }
            Some(Part { first_seq: 1, last_seq }) => {
                format!("the log is whole up to entry {last_seq}, and what it allowed follows from it")
            }
            Some(Part { first_seq, last_seq }) => format!("entries {first_seq} to {last_seq} follow from each other"),
        }
    }

    fn signature(&self) -> String {
        match (&self.signed, self.unsigned) {
            (None, 0) if self.is_export => "; no signature was verified".to_owned(),
            (None, 0) => String::new(),
            (None, _) => "; no signature covers it".to_owned(),
            (Some(_), 0) => "; signatures show that none of it was made anew".to_owned(),
            (Some(Signed { seq, .. }), count) => format!(
                "; signatures show that nothing up to entry {seq} was made anew, and say nothing yet of the last {count}"
            ),
        }
    }
}
