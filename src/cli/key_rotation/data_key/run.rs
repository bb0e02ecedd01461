use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::NO_SUCH_KEY;
use crate::aws::{Kms, KmsKeys, client};
use crate::cli::config::{DatabaseArgs, KmsArgs, duration, reason, usage};
use crate::cli::exit::ExitStatus;
use crate::cli::key_rotation::run::{PaceArgs, drive, going_on, refused_or};
use crate::cli::output::{self, OutputFormat};
use crate::db::rotation::unfinished;
use crate::db::{Pool, Role, vault};
use crate::domain::{AccessRefusal, Purpose, RotationKind};
use crate::key_rotation::RotationError;
use crate::key_rotation::data_key::{Reseal, start};
use crate::keyring::KeyLimits;

const EXAMPLES: &str = "\
Each row under the keys to be left is opened, sealed anew under a fresh key, and put back if it is
still as it was read. Tokens stay. Ingestion and unmask go on: those keys seal nothing from the
start, and open until `retire`. Before anything is opened, the audit log says which keys, and why.

SIGTERM stops it, and the same command goes on; so does another process, beside this one. A row
that does not open is listed and passed over. While KMS or PostgreSQL is away, or the KMS key of a
data key is disabled, it waits.

A page of 100 rows keeps nearly all updates in their place (HOT), also where a day has 20,000 rows
and no more. From some 200,000 rows a day on, --batch 500 does as well, and is faster. There is no
--rate unless you give one: it leaves the disk to others.

After it: data-key verify, then data-key retire.

The login needs the role pii_vault_reseal. The AWS identity needs kms:Decrypt and
kms:GenerateDataKey on the data key.

Exit status 3: refused, as no checkpoint covers the record, somebody abandoned it, or one is not
finished that was not begun for --key. 4: a row did not open; the others were sealed anew. 0 also
where it was paused or told to stop: the same command goes on.

Examples:
  pii-vault key-rotation data-key run --max-age 90d --reason 'quarterly'
  pii-vault key-rotation data-key run --key 6f3d4c1e-8f4b-4c1e-9a57-0d8f1d2f8c11 --reason 'leak C7'
  pii-vault key-rotation data-key run                     goes on with what is not done
  pii-vault key-rotation data-key run --rate 500/s --workers 1      and leaves the disk to others";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// Leave keys that were made longer ago than this, e.g. 90d; 0 are all
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    max_age: Option<Duration>,
    /// Leave this key; can be repeated
    #[arg(long, value_name = "UUID")]
    key: Vec<Uuid>,
    /// Why, for the record: at most 1000 characters. Needed to begin, not to go on
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
    #[command(flatten)]
    pace: PaceArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    kms: KmsArgs,
}

pub(super) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let server = args.database.server()?;
    let pool = server.pool(Role::Reseal, args.pace.connections()).await?;
    let under_way = unfinished(&mut *pool.get().await?, RotationKind::DataKey, Purpose::Data).await?;
    let job = match under_way {
        Some(job) => {
            if let Err(refused) = going_on(&job, &args.key, args.max_age.is_some()) {
                return refused.tell(format);
            }
            job.id
        }
        None => match record(&args, &pool).await? {
            Ok(Some(job)) => job,
            Err(error) => return refused_or(error, "no rotation was started", format),
            Ok(None) => {
                let nothing = "nothing to do: no such key seals, and no row is under one\n";
                output::result(format, &nothing, &json!({ "job": null, "ended": "nothing to do" }))?;
                return Ok(ExitStatus::Done);
            }
        },
    };
    let vault = vault::id(&mut *pool.get().await?).await?;
    let kms = Kms::for_job(&client::load().await, job, KmsKeys::from(args.kms));
    let worker = Reseal::new(pool.clone(), kms, vault, KeyLimits::USUAL);
    drive(&pool, job, worker, args.pace.options(), "rows", format).await
}

async fn record(args: &Args, pool: &Pool) -> anyhow::Result<Result<Option<Uuid>, RotationError>> {
    if args.max_age.is_none() && args.key.is_empty() {
        return usage(
            "no rotation of data keys is under way; to start one, say which keys to leave: --max-age or --key",
        );
    }
    let Some(reason) = &args.reason else {
        return usage("to start a rotation, say why: --reason");
    };
    match start(pool, &args.key, args.max_age, reason, args.pace.options().patience).await {
        Err(error) if error.refusal() == Some(AccessRefusal::Malformed) => usage(NO_SUCH_KEY),
        started => Ok(started),
    }
}
