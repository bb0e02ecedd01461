use std::time::Duration;

use uuid::Uuid;

use super::refusal::to_be_ended;
use crate::cli::config::{DatabaseArgs, duration};
use crate::cli::exit::ExitStatus;
use crate::cli::key_rotation::plan::{Pace, Plan, Requests, SYNTHETIC, Sample};
use crate::cli::key_rotation::run::{PaceArgs, going_on};
use crate::cli::output::{self, OutputFormat};
use crate::cli::refusal::Refused;
use crate::db::rotation::Job;
use crate::db::rotation::token_key::{self, Leave};
use crate::db::{Role, rotation};
use crate::domain::{Purpose, RotationKind, RotationStep};
use crate::key_rotation::token_time;

const EXAMPLES: &str = "\
Counts the rows, which reads all events once. The time is that of a sample: this process opens 2,000
rows that it made up and makes their tokens under two keys, and PostgreSQL writes 500 stored
rows as they are, twice, and undoes it, which leaves 1,000 dead tuples to vacuum. No value is read.
Rows that are ingested once `run` has begun have both tokens already. Where a rotation is under way,
`keys` and `rows` are what is left of it; where nothing is due, nothing is measured.

Each row is written twice: its other slot is filled before cut-over, and the old one emptied by
`finish`. Between them the indexes of the new slot are built, which takes time too.

The login needs the role pii_vault_reseal. AWS is not asked.

Examples:
  pii-vault key-rotation token-key plan
  pii-vault key-rotation token-key plan --max-age 365d
  pii-vault key-rotation token-key plan --rate 500/s --output json";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// Nothing, unless the key in use was made longer ago than this, e.g. 90d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    max_age: Option<Duration>,
    /// This key, whatever its age; refused where it is not the one in use
    #[arg(long, value_name = "UUID")]
    key: Option<Uuid>,
    #[command(flatten)]
    pace: PaceArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(in crate::cli) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let mut conn = args.database.server()?.connect(Role::Reseal).await?;
    let under_way = rotation::unfinished(&mut conn, RotationKind::TokenKey, Purpose::Token).await?;
    let is_due = match &under_way {
        // As `run` does it.
        Some(job) if !matches!(job.step, RotationStep::Work | RotationStep::Filled) => {
            return to_be_ended(job).tell(format);
        }
        Some(job) => match going_on(job, args.key.as_slice(), false) {
            Ok(()) => Ok(true),
            Err(refused) => return refused.tell(format),
        },
        None => token_key::is_due(&mut conn, Leave { key: args.key, max_age: args.max_age }).await?,
    };
    let is_due = match is_due {
        Ok(is_due) => is_due,
        Err(refusal) => return Refused::from(refusal).tell(format),
    };
    let groups = if is_due { rotation::keys(&mut conn, true).await? } else { Vec::new() };
    let data = groups.iter().filter(|group| group.purpose == Purpose::Data);
    let all: i64 = data.clone().map(|group| group.row_count).sum();
    let opening: i64 = data.filter(|group| group.row_count > 0).map(|group| group.key_count - group.unused).sum();
    let rows = under_way.as_ref().map_or(all, left);
    // A sample is written: not where there is nothing to rotate.
    let sample = if is_due { Some(Sample::measure(&mut conn, token_time(SYNTHETIC)?).await?) } else { None };
    let pace = Pace::of(args.pace.options());
    let going_on =
        under_way.as_ref().map(|job| format!("rotation {} is under way: this is what is left of it", job.id));
    let assumed = [
        pace.told(),
        "commits, the network, building indexes, and what others do meanwhile are not in the time".to_owned(),
        "each worker unwraps each data key that has rows; both token keys are unwrapped once".to_owned(),
        "each row leaves two dead tuples, one before cut-over and one after, which vacuum takes away".to_owned(),
    ];
    let plan = Plan {
        kind: RotationKind::TokenKey.name(),
        purpose: Purpose::Token.name(),
        // There is one in use, and one to be left.
        keys: is_due.into(),
        rows,
        kms_calls: match is_due {
            true => Requests {
                decrypt: opening.saturating_mul(pace.at_once(rows)).saturating_add(2),
                generate_data_key: under_way.is_none().into(),
                re_encrypt: 0,
            },
            false => Requests { decrypt: 0, generate_data_key: 0, re_encrypt: 0 },
        },
        seconds: Some(sample.as_ref().map_or(0.0, |sample| sample.seconds(rows, &pace))),
        finish_seconds: Some(sample.as_ref().map_or(0.0, |sample| sample.database_seconds_of(all, &pace))),
        kms_seconds_per_call: None,
        target: None,
        assumed: going_on.into_iter().chain(assumed).collect(),
        sample,
        pace: Some(pace),
    };
    output::result(format, &plan, &plan)?;
    Ok(ExitStatus::Done)
}

/// Rows whose other slot is still to be filled.
fn left(job: &Job) -> i64 {
    if job.step == RotationStep::Work { (job.total - job.changed - job.failed).max(0) } else { 0 }
}
