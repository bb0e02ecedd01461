use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use uuid::Uuid;

use super::dead_letters::reason;
use crate::aws::{Kms, KmsKeys, client};
use crate::cli::config::{CheckpointKeyArgs, DatabaseArgs, KmsArgs, duration};
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::cli::progress;
use crate::cli::refusal::Refused;
use crate::cli::signals::stop_on_signal;
use crate::db::Role;
use crate::db::redrive::{Selection, count};
use crate::domain::Reason;
use crate::etl::EtlError;
use crate::etl::redrive::{self, Options, Report};
use crate::keyring::KeyLimits;

const EXAMPLES: &str = "\
Opens dead letters, parses them with the rules of this version, and stores those that pass as
events, with the day and message id that they came with. What does not pass stays a dead letter.
Before anything is opened, a committed row of the audit log says who reads which letters, and why.
It can be interrupted and run again, and run twice at once.

The login needs the role pii_vault_redrive. The AWS identity needs kms:Decrypt on the dead-letter
and token keys, and kms:GenerateDataKey on the data key.

Where policy asks for checkpoints, it waits for the notary to sign what was recorded. With the
public key, which `pii-vault audit public-key` prints, its signature is verified before a letter is
opened.

Exit status 4: a letter did not open. It, or its key, was altered or is gone; the others were
redriven. Or the checkpoint does not verify, and nothing was opened.

Examples:
  pii-vault etl dead-letters redrive --all --dry-run
  pii-vault etl dead-letters redrive --reason invalid_ip --newer-than 30d --note 'ticket 4711'
  pii-vault etl dead-letters redrive --id d57dc55b-7b83-4291-9c1c-6978ad80b679 --note 'ticket 4711'";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// Why, for the record: at most 1000 characters
    #[arg(long, value_name = "TEXT", required_unless_present = "dry_run", value_parser = note)]
    note: Option<String>,
    /// Only count, by reason, what would be tried. Opens nothing, so it cannot tell what would pass; a real run
    /// leaves what does not pass a dead letter
    #[arg(long, conflicts_with = "limit")]
    dry_run: bool,
    /// The most to try
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// How long KMS or PostgreSQL may be away before the run gives up
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    patience: Duration,
    #[command(flatten)]
    checkpoints: CheckpointKeyArgs,
    // After the others, which would else stand under its heading.
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    kms: KmsArgs,
}

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Which dead letters (one of these is needed; what is given must all be true)")]
#[group(required = true, multiple = true)]
struct Which {
    /// Those with this reason; can be repeated
    #[arg(long, value_name = "REASON", value_parser = reason)]
    reason: Vec<Reason>,
    /// Those that were set aside at least so long ago, e.g. 7d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    older_than: Option<Duration>,
    /// Those that were set aside since, e.g. 12h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    newer_than: Option<Duration>,
    /// The one with this message id; can be repeated
    #[arg(long, value_name = "ID")]
    id: Vec<Uuid>,
    /// All
    #[arg(long, conflicts_with_all = ["reason", "older_than", "newer_than", "id"])]
    all: bool,
}

pub(in crate::cli) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let selection = Selection::from(args.which);
    let server = args.database.server()?;
    let Some(note) = args.note.filter(|_| !args.dry_run) else {
        let counts = count(&mut server.connect(Role::Redrive).await?, &selection).await?;
        let counts = Counts(counts.into_iter().map(|(reason, count)| (reason.code(), count)).collect());
        output::result(format, &counts, &counts)?;
        return Ok(ExitStatus::Done);
    };
    let checkpoint_key = args.checkpoints.key()?;
    let kms = Kms::new(&client::load().await, KmsKeys::from(args.kms));
    let key_limits = KeyLimits::USUAL;
    let options = Options { selection, note, limit: args.limit, patience: args.patience, key_limits, checkpoint_key };
    // One is in use at a time, beside one that stores a data key.
    let pool = server.pool(Role::Redrive, 2).await?;

    let stop = stop_on_signal()?;
    let line = progress::line();
    let mut report = Report::default();
    let result = redrive::run(kms, pool, options, &mut report, stop.clone(), |report| {
        line.set_message(told(report));
        line.tick();
    })
    .await;
    line.finish_and_clear();

    // The summary comes whatever happened: it says what was done before a fault, which goes first where neither can be
    // written.
    let shown = Shown { stopped: stop.is_cancelled(), report };
    let written = output::result(format, &shown, &shown);
    if let Some(refusal) = result.as_ref().err().and_then(EtlError::refusal) {
        written?;
        return Refused::from(refusal).tell(OutputFormat::Human);
    }
    result.context("redrive stopped; what was not redriven is still a dead letter, run it again")?;
    written?;
    Ok(if shown.report.did_not_open > 0 { ExitStatus::IntegrityBroken } else { ExitStatus::Done })
}

impl From<Which> for Selection {
    fn from(which: Which) -> Self {
        Self { reasons: which.reason, ids: which.id, older_than: which.older_than, newer_than: which.newer_than }
    }
}

#[derive(Serialize)]
struct Counts(BTreeMap<&'static str, u64>);

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "would be tried    {}", self.0.values().sum::<u64>())?;
        by_reason(f, &self.0)
    }
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    report: Report,
    stopped: bool,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { report, stopped } = self;
        writeln!(f, "selected          {}", report.selected)?;
        writeln!(f, "stored            {}", report.stored)?;
        writeln!(f, "already stored    {}", report.already_stored)?;
        writeln!(f, "still dead        {}", report.still_dead.values().sum::<u64>())?;
        by_reason(f, &report.still_dead)?;
        if report.not_tried > 0 {
            writeln!(f, "not tried         {}: redriven or deleted by another meanwhile", report.not_tried)?;
        }
        if report.did_not_open > 0 {
            writeln!(f, "did not open      {}", report.did_not_open)?;
            for letter in &report.unopened {
                writeln!(f, "  {}  {}  {}", letter.message_id, letter.create_date, letter.why)?;
            }
        }
        for (job, seq) in report.jobs.iter().zip(&report.audit_seqs) {
            writeln!(f, "recorded as       {job}, row {seq} of the audit log")?;
        }
        if *stopped {
            writeln!(f, "stopped before the end; run it again for the rest")?;
        }
        Ok(())
    }
}

fn by_reason(f: &mut fmt::Formatter<'_>, counts: &BTreeMap<&'static str, u64>) -> fmt::Result {
    counts.iter().try_for_each(|(reason, count)| writeln!(f, "  {reason:<16}{count}"))
}

fn told(report: &Report) -> String {
    let dead: u64 = report.still_dead.values().sum();
    format!(
        "{} selected, {} stored, {} already stored, {dead} still dead, {} did not open",
        report.selected, report.stored, report.already_stored, report.did_not_open
    )
}

fn note(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() || text.chars().count() > 1000 {
        return Err("a note is 1 to 1000 characters, and not only spaces");
    }
    Ok(text.to_owned())
}
