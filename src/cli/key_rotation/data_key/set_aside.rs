use std::fmt;

use anyhow::Context as _;
use serde::Serialize;
use uuid::Uuid;

use crate::cli::config::{DatabaseArgs, reason};
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::cli::refusal::Refused;
use crate::db::Role;
use crate::db::rotation::data_key::set_aside;

const EXAMPLES: &str = "\
The rows that the rotation passed over, as they did not open, go from the events to the table
pii_vault.set_aside_events, with the rotation and the reason why: all of them at once. Analysts do
not see them any more, and once their keys are retired nothing of pii-vault opens them. Do it when
no backup has them intact; to try them again instead, start another rotation of their keys.

A message that SQS delivers again is stored again.

The login needs to be a member of pii_vault_owner, as the one that ran `pii-vault init` is.

Exit status 3: the rotation is not done, or not one of data keys.

Examples:
  pii-vault key-rotation data-key set-aside --job 0d0c2a4e-5b6f-4a0e-8a43-3f1f0f3d7a55 \\
    --reason 'no backup has them, C-7'";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// The rotation that passed them over
    #[arg(long, value_name = "UUID")]
    job: Uuid,
    /// Why, for the record: at most 1000 characters
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(super) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let mut conn = args.database.server()?.connect(Role::Owner).await?;
    let rows = set_aside(&mut conn, args.job, &args.reason).await.context("no row was set aside")?;
    let Some(rows) = rows else {
        let because = format!("{} is no rotation of data keys that is done", args.job);
        let next = "pii-vault key-rotation data-key run ends it; key-rotation status lists them";
        return Refused::new("not_done", because, next).tell(format);
    };
    let report = Report { job: args.job, rows };
    output::result(format, &report, &report)?;
    Ok(ExitStatus::Done)
}

#[derive(Serialize)]
struct Report {
    job: Uuid,
    rows: i64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "set aside         {} rows, in pii_vault.set_aside_events", self.rows)
    }
}
