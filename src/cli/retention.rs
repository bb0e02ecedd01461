use std::fmt;
use std::time::Duration;

use clap::ArgGroup;
use serde::Serialize;

use super::config::{DatabaseArgs, duration};
use super::exit::ExitStatus;
use super::output::{self, OutputFormat};
use crate::db::months::MonthInDefault;
use crate::retention;

const EXAMPLES: &str = "\
The login needs to be a member of pii_vault_owner, as the one that ran `pii-vault init` is.

--repair-default is one transaction, under ACCESS EXCLUSIVE on pii_vault.login_events. Where one
month is to be repaired, no row is moved, and the lock is held for as long as PostgreSQL takes to
check its rows. Each try waits 2 s for the lock, and holds up readers and ingestion meanwhile;
--patience says for how long to try. Killed, it has changed nothing; repeated, it goes on.

Examples:
  pii-vault retention --repair-default --dry-run
  pii-vault retention --repair-default --patience 10m";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("what").required(true).multiple(true))]
pub(super) struct Args {
    /// Give each month that has rows in the default partition a partition of its own
    #[arg(long, group = "what")]
    repair_default: bool,
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
    if args.repair_default {
        let months = match args.dry_run {
            true => retention::plan(&server).await?.into_iter().map(|month| Shown::new(month, "to_do")).collect(),
            false => retention::repair(&server, args.patience)
                .await?
                .into_iter()
                .map(|(month, how)| Shown::new(month, how.name()))
                .collect(),
        };
        let report = Report { dry_run: args.dry_run, repaired: months };
        output::result(format, &report, &report)?;
    }
    Ok(ExitStatus::Done)
}

#[derive(Serialize)]
struct Report {
    dry_run: bool,
    repaired: Vec<Shown>,
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
        if self.repaired.is_empty() {
            return writeln!(f, "no month has rows in the default partition");
        }
        for month in &self.repaired {
            let rows = if month.rows == 1 { "1 row".to_owned() } else { format!("{} rows", month.rows) };
            let how = match month.how {
                "in_place" => "the default partition became its partition",
                "moved" => "moved to a partition of its own",
                _ => "would get a partition of its own",
            };
            writeln!(f, "{}  {rows:>12}  {how}", month.month)?;
        }
        Ok(())
    }
}
