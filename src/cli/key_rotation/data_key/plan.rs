use std::time::Duration;

use uuid::Uuid;

use super::NO_SUCH_KEY;
use crate::cli::config::{DatabaseArgs, duration, usage};
use crate::cli::exit::ExitStatus;
use crate::cli::key_rotation::plan::{Pace, Plan, Requests, SYNTHETIC, Sample};
use crate::cli::key_rotation::run::PaceArgs;
use crate::cli::output::{self, OutputFormat};
use crate::db::{Role, rotation};
use crate::domain::{AccessRefusal, Purpose, RotationKind};
use crate::key_rotation::reseal_time;
use crate::keyring::KeyLimits;

const EXAMPLES: &str = "\
Counts the keys and the rows under them, which reads all events once. The time is that of a sample:
this process seals and opens 2,000 rows that it made up, and PostgreSQL writes 500 stored rows as
they are, twice, and undoes it, which leaves 1,000 dead tuples to vacuum. No value is read. Rows
that are ingested meanwhile are under fresh keys and add nothing.

The login needs the role pii_vault_reseal. AWS is not asked.

Examples:
  pii-vault key-rotation data-key plan --max-age 90d
  pii-vault key-rotation data-key plan --key 6f3d4c1e-8f4b-4c1e-9a57-0d8f1d2f8c11 --workers 4";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// Keys that were made longer ago than this, e.g. 90d; 0 are all
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    max_age: Option<Duration>,
    /// This key; can be repeated
    #[arg(long, value_name = "UUID")]
    key: Vec<Uuid>,
    #[command(flatten)]
    pace: PaceArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(in crate::cli) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    if args.max_age.is_none() && args.key.is_empty() {
        return usage("say which keys are to be left: --max-age 90d, or --key UUID");
    }
    let mut conn = args.database.server()?.connect(Role::Reseal).await?;
    let extent = match rotation::extent(&mut conn, args.max_age, &args.key).await {
        Err(error) if error.refusal() == Some(AccessRefusal::Malformed) => return usage(NO_SUCH_KEY),
        extent => extent?,
    };
    let process = reseal_time(SYNTHETIC)?;
    let sample = Sample::measure(&mut conn, process).await?;
    let pace = Pace::of(args.pace.options());
    let plan = Plan {
        kind: RotationKind::DataKey.name(),
        purpose: Purpose::Data.name(),
        keys: extent.key_count,
        rows: extent.row_count,
        kms_calls: Requests {
            decrypt: extent.with_rows.saturating_mul(pace.at_once(extent.row_count)),
            generate_data_key: if extent.row_count == 0 {
                0
            } else {
                1 + extent.row_count.saturating_mul(2) / i64::try_from(KeyLimits::USUAL.values()).unwrap_or(i64::MAX)
            },
            re_encrypt: 0,
        },
        seconds: Some(sample.seconds(extent.row_count, &pace)),
        finish_seconds: None,
        kms_seconds_per_call: None,
        target: None,
        assumed: vec![
            pace.told(),
            "commits, the network, and what others do meanwhile are not in the time".to_owned(),
            "each worker unwraps each old key that has rows; a fresh key is made a day, or for 2^24 values".to_owned(),
            "each row leaves a dead tuple, which vacuum takes away".to_owned(),
        ],
        sample: Some(sample),
        pace: Some(pace),
    };
    output::result(format, &plan, &plan)?;
    Ok(ExitStatus::Done)
}
