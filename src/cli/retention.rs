use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use clap::ArgGroup;
use serde::Serialize;

use super::config::{DatabaseArgs, duration};
use super::exit::ExitStatus;
use super::output::{self, OutputFormat};
use super::progress;
use crate::db::dead_letters::{self, Expired};
use crate::db::months::MonthInDefault;
use crate::db::{Role, Server};
use crate::retention;

const EXAMPLES: &str = "\
The login needs to be a member of pii_vault_owner, as the one that ran `pii-vault init` is.

--repair-default is one transaction, under ACCESS EXCLUSIVE on pii_vault.login_events. Where one
month is to be repaired, no row is moved, and the lock is held for as long as PostgreSQL takes to
check its rows. Each try waits 2 s for the lock, and holds up readers and ingestion meanwhile;
--patience says for how long to try. Killed, it has changed nothing; repeated, it goes on.

--dead-letters deletes in batches, each a transaction. The records of who redrove which dead
letters are kept.

Examples:
  pii-vault retention --dead-letters 90d --dry-run
  pii-vault retention --repair-default --dry-run
  pii-vault retention --repair-default --patience 10m";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("what").required(true).multiple(true))]
pub(super) struct Args {
    /// Give each month that has rows in the default partition a partition of its own
    #[arg(long, group = "what")]
    repair_default: bool,
    /// Delete dead letters, redriven or not, that were set aside longer ago than this: at least 1d
    #[arg(long, group = "what", value_name = "DURATION", value_parser = age)]
    dead_letters: Option<Duration>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// How long to try, while other sessions are in the way
    #[arg(long, default_value = "1m", value_name = "DURATION", value_parser = duration)]
    patience: Duration,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(super) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let server = args.database.server()?;
    let mut report = Report { dry_run: args.dry_run, repaired: None, dead_letters: None };
    let result = keep(&server, &args, &mut report).await;
    // What was done before a fault is told as well.
    let written = output::result(format, &report, &report);
    result?;
    written?;
    let left = report.repaired.iter().flatten().any(|month| month.how == "name_taken");
    Ok(if left { ExitStatus::Failed } else { ExitStatus::Done })
}

async fn keep(server: &Server, args: &Args, report: &mut Report) -> anyhow::Result<()> {
    if args.repair_default {
        let months = match args.dry_run {
            true => retention::plan(server).await?.into_iter().map(|month| Shown::new(month, "to_do")).collect(),
            false => retention::repair(server, args.patience)
                .await?
                .into_iter()
                .map(|(month, how)| Shown::new(month, how.name()))
                .collect(),
        };
        report.repaired = Some(months);
    }
    if let Some(age) = args.dead_letters {
        let mut conn = server.connect(Role::Owner).await?;
        let expired = if args.dry_run {
            dead_letters::count_older_than(&mut conn, age).await
        } else {
            let line = progress::line();
            let told = |deleted: &Expired| {
                line.set_message(format!("{} dead letters deleted", deleted.letters));
                line.tick();
            };
            let deleted = retention::delete_dead_letters(&mut conn, age, told).await;
            line.finish_and_clear();
            deleted
        };
        let Expired { letters, never_redriven } = expired.context("retention stopped; run it again for the rest")?;
        report.dead_letters = Some(Letters { expired: letters, never_redriven });
    }
    Ok(())
}

#[derive(Serialize)]
struct Report {
    dry_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    repaired: Option<Vec<Shown>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letters: Option<Letters>,
}

#[derive(Serialize)]
struct Letters {
    expired: i64,
    never_redriven: i64,
}

#[derive(Serialize)]
struct Shown {
    month: String,
    rows: i64,
    how: &'static str,
}

impl Shown {
    fn new(month: MonthInDefault, how: &'static str) -> Self {
        Self { month: month.month.to_string(), rows: month.rows, how }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.repaired.as_ref().is_some_and(Vec::is_empty) {
            writeln!(f, "no month has rows in the default partition")?;
        }
        for month in self.repaired.iter().flatten() {
            let rows = if month.rows == 1 { "1 row".to_owned() } else { format!("{} rows", month.rows) };
            let how = match month.how {
                "in_place" => "the default partition became its partition",
                "moved" => "moved to a partition of its own",
                "name_taken" => "left: a table that is no partition has its name; rename it, run this again",
                _ => "would get a partition of its own",
            };
            writeln!(f, "{}  {rows:>12}  {how}", month.month)?;
        }
        if let Some(Letters { expired, never_redriven }) = self.dead_letters {
            let done = if self.dry_run { "would be deleted" } else { "deleted" };
            writeln!(f, "dead letters      {expired} {done}, of which {never_redriven} were never redriven")?;
        }
        Ok(())
    }
}

/// Not less than a day: `90` would be seconds, and what is deleted is gone.
fn age(text: &str) -> Result<Duration, &'static str> {
    let age = duration(text)?;
    if age < Duration::from_secs(24 * 60 * 60) { Err("at least 1d, with its unit: 90d") } else { Ok(age) }
}
