use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use uuid::Uuid;

use super::refusal::to_be_ended;
use crate::aws::{Kms, KmsKeys, client};
use crate::cli::config::{DatabaseArgs, KmsArgs, duration, reason, usage};
use crate::cli::exit::ExitStatus;
use crate::cli::key_rotation::run::{PaceArgs, drive, going_on, refused_or};
use crate::cli::output::{self, OutputFormat};
use crate::cli::refusal::Refused;
use crate::db::rotation::token_key::{Leave, TokenRefusal, retry};
use crate::db::rotation::{Job, unfinished};
use crate::db::{Pool, Role};
use crate::domain::{Purpose, RotationKind, RotationStep};
use crate::key_rotation::RotationError;
use crate::key_rotation::token_key::{self, Backfill};

const EXAMPLES: &str = "\
Where no rotation of the token key is under way, this makes the next key and records why. Every
`etl run` picks it up within seconds and fills both slots of each row from then on; analysts see no
difference. Then the rows from before get their tokens of the new key: their values are opened, and
their old tokens computed once more. It can be interrupted, run again, and run twice at once.

A row whose old tokens are not those of its values was tampered with: it is filled and listed. A row
that does not open is listed, and left as it is. All others are done. Where somebody mended rows,
--retry tries those once more that did not open. While KMS or PostgreSQL is away, or the KMS key of
a token key or data key is disabled, it waits.

A page of 100 rows keeps most updates in their place (HOT), also where a day has 20,000 rows and no
more. From some 200,000 rows a day on, --batch 500 does as well, and is faster.

When it has filled all rows: verify, cut-over, and finish. Until finish, rollback is the way back.

The login needs the role pii_vault_reseal. The AWS identity needs kms:GenerateDataKey and
kms:Decrypt on the token key, and kms:Decrypt on the data key.

Exit status 3: refused: another rotation is not done, somebody ended this one, or --key is not the
key in use, nor the one that an unfinished rotation leaves. 4: rows were listed. 0 also where it was
paused or told to stop, and the same command goes on, and where the key is younger than --max-age:
then nothing is begun or recorded.

Examples:
  pii-vault key-rotation token-key run --reason 'yearly'
  pii-vault key-rotation token-key run --max-age 365d --reason 'yearly'      for a timer
  pii-vault key-rotation token-key run --key d57dc55b-7b83-4291-9c1c-6978ad80b679 --reason 'leak C7'
  pii-vault key-rotation token-key run                    go on where it was
  pii-vault key-rotation token-key run --rate 2000/s --workers 4";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// Begin only where the key in use was made longer ago than this, e.g. 90d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    max_age: Option<Duration>,
    /// Leave this key, whatever its age; refused where it is not the one in use
    #[arg(long, value_name = "UUID")]
    key: Option<Uuid>,
    /// Why, for the record: at most 1000 characters. Needed to begin, not to go on
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
    /// Try once more what did not open. Recorded with --reason, or with the reason of the rotation
    #[arg(long)]
    retry: bool,
    #[command(flatten)]
    pace: PaceArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    kms: KmsArgs,
}

pub(in crate::cli) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let server = args.database.server()?;
    let pool = server.pool(Role::Reseal, args.pace.connections()).await?;
    let (config, keys) = (client::load().await, KmsKeys::from(args.kms));
    let options = args.pace.options();
    let job = match current(&pool).await? {
        Some(job) => job,
        None => {
            let Some(reason) = &args.reason else { return usage("to begin a rotation, say why: --reason TEXT") };
            let wrapper = Kms::new(&config, keys.clone());
            let leave = Leave { key: args.key, max_age: args.max_age };
            match token_key::start(&pool, &wrapper, leave, reason, options.patience).await {
                // Another was as fast: both work on it.
                Ok(Ok(Some(_)) | Err(TokenRefusal::Unfinished)) => {}
                Ok(Ok(None)) => {
                    let nothing = "nothing to do: the token key was made no longer ago than that\n";
                    output::result(format, &nothing, &json!({ "job": null, "ended": "nothing to do" }))?;
                    return Ok(ExitStatus::Done);
                }
                Ok(Err(refusal)) => return Refused::from(refusal).tell(format),
                Err(error) => return refused_or(error, "nothing has begun", format),
            }
            current(&pool).await?.context("the rotation is done, or rolled back, already")?
        }
    };
    if !matches!(job.step, RotationStep::Work | RotationStep::Filled) {
        return to_be_ended(&job).tell(format);
    }
    if let Err(refused) = going_on(&job, args.key.as_slice(), false) {
        return refused.tell(format);
    }
    if args.retry {
        let why = args.reason.as_deref().unwrap_or(&job.reason);
        retry(&mut *pool.get().await?, job.id, why).await?;
    }
    let (id, wrapper) = (job.id, Kms::for_job(&config, job.id, keys));
    match drive(&pool, id, Backfill::new(pool.clone(), wrapper, job), options, "rows", format).await {
        Err(error) if error.downcast_ref().is_some_and(is_over) => Refused::from(TokenRefusal::Over).tell(format),
        ended => ended,
    }
}

/// Also where its keys went before the first page.
fn is_over(error: &RotationError) -> bool {
    error.is_over() || matches!(error, RotationError::TokenKeysGone)
}

/// The rotation that is not done.
pub(super) async fn current(pool: &Pool) -> anyhow::Result<Option<Job>> {
    Ok(unfinished(&mut *pool.get().await?, RotationKind::TokenKey, Purpose::Token).await?)
}
