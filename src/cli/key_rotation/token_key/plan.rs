use std::time::Duration;

use uuid::Uuid;

use crate::cli::config::{DatabaseArgs, duration};
use crate::cli::exit::ExitStatus;
use crate::cli::key_rotation::plan::{Pace, Plan, Requests, SYNTHETIC, Sample};
use crate::cli::key_rotation::run::PaceArgs;
use crate::cli::output::{self, OutputFormat};
use crate::cli::refusal::Refused;
use crate::db::rotation::token_key::{self, Leave};
use crate::db::{Role, rotation};
use crate::domain::{KeyState, Purpose, RotationKind};
use crate::key_rotation::token_time;

const EXAMPLES: &str = "\
Counts the rows, which reads all events once. The time is that of a sample: this process opens 2,000
rows that it made up and makes their tokens under two keys, and PostgreSQL writes 500 stored rows as
they are and undoes it, which leaves 500 dead tuples to vacuum. No value is read. Rows that are
ingested once `run` has begun have both tokens already.

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
    let is_due = match token_key::is_due(&mut conn, Leave { key: args.key, max_age: args.max_age }).await? {
        Ok(is_due) => is_due,
        Err(refusal) => return Refused::from(refusal).tell(format),
    };
    let groups = if is_due { rotation::keys(&mut conn, true).await? } else { Vec::new() };
    let data = groups.iter().filter(|group| group.purpose == Purpose::Data);
    let rows: i64 = data.clone().map(|group| group.row_count).sum();
    let opening: i64 = data.map(|group| group.key_count - group.unused).sum();
    let is_left = |state: Option<KeyState>| matches!(state, Some(KeyState::Active | KeyState::Pending));
    let left = groups.iter().filter(|group| group.purpose == Purpose::Token && is_left(group.state));
    let sample = Sample::measure(&mut conn, token_time(SYNTHETIC)?).await?;
    let pace = Pace::of(args.pace.options());
    let plan = Plan {
        kind: RotationKind::TokenKey.name(),
        purpose: Purpose::Token.name(),
        keys: left.map(|group| group.key_count).sum(),
        rows,
        // Both token keys, and each data key once.
        kms_calls: match is_due {
            true => Requests { decrypt: opening + 2, generate_data_key: 1, re_encrypt: 0 },
            false => Requests { decrypt: 0, generate_data_key: 0, re_encrypt: 0 },
        },
        seconds: Some(sample.seconds(rows, &pace)),
        finish_seconds: Some(sample.database_seconds_of(rows, &pace)),
        kms_seconds_per_call: None,
        target: None,
        assumed: vec![
            pace.told(),
            "commits, the network, building indexes, and what others do meanwhile are not in the time".to_owned(),
            "each data key and both token keys are unwrapped once by a run".to_owned(),
            "each row leaves two dead tuples, one before cut-over and one after, which vacuum takes away".to_owned(),
        ],
        sample: Some(sample),
        pace: Some(pace),
    };
    output::result(format, &plan, &plan)?;
    Ok(ExitStatus::Done)
}
