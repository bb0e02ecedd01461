use std::fmt;
use std::num::NonZeroU32;

use serde::Serialize;
use tracing::info;
use uuid::Uuid;

use super::choice::ChoiceArgs;
use super::{kms, no_such_key, purpose};
use crate::aws::KmsKeys;
use crate::cli::config::{DatabaseArgs, KmsArgs, reason, usage};
use crate::cli::exit::ExitStatus;
use crate::cli::key_rotation::run::{PaceArgs, drive, going_on};
use crate::cli::output::{self, OutputFormat};
use crate::cli::refusal::Refused;
use crate::db::rotation::kek::{self, Recorded, Which};
use crate::db::{Connection, Role, rotation, vault};
use crate::domain::{Purpose, RotationKind, VaultId};
use crate::key_rotation::Options;
use crate::key_rotation::kek::{Calls, Rewrap, target};
use crate::patience::Patience;

/// Without --rate. A ReEncrypt counts twice, and all of an account's calls together may be 10,000 a second in most
/// regions: `Request quotas` in the AWS KMS Developer Guide.
pub(super) const RATE: NonZeroU32 = NonZeroU32::new(200).unwrap();

const EXAMPLES: &str = "\
Each key that another KMS key wraps is wrapped anew by ReEncrypt: one call for a key, however much
it seals, and no key leaves KMS unwrapped. Context and commitment stay, and what is sealed is not
touched. Ingestion and unmask go on meanwhile. Without --rate there are 200 calls a second.

It can be killed and run again, and run twice at once. While KMS throttles, is away, or has one of
the KMS keys disabled, each call is tried again until --patience is over.

First name the new KMS key to ingestion: move the alias, or set the variable and start it again.
Give it the key policy of the old one (keys/README.md). It takes effect with the next key that a
process makes: keys that the old KMS key wraps until then are wrapped anew as well.

--newest-material is for after RotateKeyOnDemand or a yearly rotation of the same KMS key: new
material wraps what is wrapped from then on, and nothing that was before. Run it once KMS says that
the rotation is complete (list-key-rotations).

--max-age and --key choose keys of the purpose, whichever KMS key wraps them, and leave all others.
The audit log says which. `verify` and `retire` are about all of them nonetheless.

The login needs the role pii_vault_rewrap, the AWS identity kms:ReEncrypt* on both KMS keys.

Where the KMS key to wrap by is lost, `kek abandon` makes way for another rotation.

Exit status 3: refused, as one of other keys or to another KMS key is not finished, or somebody
abandoned it. 4: KMS does not unwrap some keys, which were altered or moved; they were passed over,
`key-rotation status --job` lists them, and all others were wrapped anew. 0 also where it was paused
or told to stop: the same command goes on.

Examples:
  pii-vault key-rotation kek run --purpose data --reason 'yearly' --to alias/pii-vault-data-2027
  pii-vault key-rotation kek run --purpose token --reason 'new material' --newest-material
  pii-vault key-rotation kek run --purpose data --reason 'quarterly' --max-age 90d
  pii-vault key-rotation kek run --purpose data          goes on with what is not finished";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// Which keys: data, token or dead-letter
    #[arg(long, value_name = "PURPOSE", value_parser = purpose)]
    purpose: Purpose,
    /// The KMS key to wrap by: alias, id or ARN. Without it, the one that is set for the purpose, below
    #[arg(long, value_name = "KEY")]
    to: Option<String>,
    /// Also wrap anew what this KMS key wraps already, for its newest material
    #[arg(long)]
    newest_material: bool,
    #[command(flatten)]
    choice: ChoiceArgs,
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

pub(in crate::cli) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let pool = args.database.server()?.pool(Role::Rewrap, args.pace.connections()).await?;
    let options = args.pace.options();
    let rate = options.rate.unwrap_or(RATE);
    let options = Options { rate: Some(rate), ..options };
    let mut conn = pool.get().await?;
    let vault = vault::id(&mut conn).await?;
    let asked = Asked {
        vault,
        purpose: args.purpose,
        named: args.to.is_some(),
        to: args.to.unwrap_or_else(|| KmsKeys::from(args.kms).wrapping(args.purpose).to_owned()),
        which: args.choice.which(args.newest_material),
        begins: args.reason.is_some(),
        patience: options.patience,
    };
    let of_some = matches!(asked.which, Which::Chosen { .. });
    let begun = match rotation::unfinished(&mut conn, RotationKind::Kek, args.purpose).await? {
        Some(job) => asked.go_on(&mut conn, job).await?,
        None => match args.reason {
            Some(reason) => asked.begin(&mut conn, &reason).await?,
            None => return usage("--reason is needed: no rotation of these keys is unfinished"),
        },
    };
    drop(conn);
    match begun {
        Begun::Job { id, target } => {
            let calls = Calls::new(kms(Some(id)).await, vault, args.purpose, Some(rate), asked.patience);
            drive(&pool, id, Rewrap::new(calls, target), options, "keys", format).await
        }
        Begun::Nothing { target } => {
            let nothing = Nothing { ended: "nothing to do", purpose: args.purpose.name(), target, of_some };
            output::result(format, &nothing, &nothing)?;
            Ok(ExitStatus::Done)
        }
        Begun::Refused(refused) => refused.tell(format),
    }
}

/// What is to be done.
struct Asked {
    vault: VaultId,
    purpose: Purpose,
    to: String,
    named: bool,
    which: Which,
    /// Whether it is said why.
    begins: bool,
    patience: Patience,
}

enum Begun {
    Job { id: Uuid, target: String },
    Nothing { target: Option<String> },
    Refused(Refused),
}

impl Asked {
    /// To the KMS key that was recorded, whatever its alias stands for by now.
    async fn go_on(&self, conn: &mut Connection, job: rotation::Job) -> anyhow::Result<Begun> {
        let target = job.target_kms_key.clone().unwrap_or_default();
        let is_of_some = !job.old_keys.is_empty();
        // What is asked of all is not answered by some.
        let is_another = self.which == Which::All && (is_of_some || job.wrapped_before.is_none())
            || self.which == Which::OfOthers && is_of_some && self.begins
            || self.named && self.target(conn).await?.is_some_and(|asked| asked != target);
        if is_another {
            return Ok(Begun::Refused(unfinished(Some(&target))));
        }
        if let Which::Chosen { keys, max_age } = &self.which
            && let Err(refused) = going_on(&job, keys, max_age.is_some())
        {
            return Ok(Begun::Refused(refused));
        }
        info!(job = %job.id, kms_key = target, "going on");
        Ok(Begun::Job { id: job.id, target })
    }

    async fn begin(&self, conn: &mut Connection, reason: &str) -> anyhow::Result<Begun> {
        let Some(target) = self.target(conn).await? else { return Ok(Begun::Nothing { target: None }) };
        Ok(match kek::record(conn, self.purpose, &target, &self.which, reason).await? {
            Recorded::Job(id) => Begun::Job { id, target },
            Recorded::NoSuchKey => return usage(&no_such_key(self.purpose)),
            Recorded::Nothing => Begun::Nothing { target: Some(target) },
            Recorded::Refused(refusal) => Begun::Refused(self.refused(refusal, &target)),
        })
    }

    async fn target(&self, conn: &mut Connection) -> anyhow::Result<Option<String>> {
        let calls = Calls::new(kms(None).await, self.vault, self.purpose, None, self.patience);
        Ok(target(conn, &calls, &self.to).await?)
    }

    fn refused(&self, refusal: kek::Refusal, target: &str) -> Refused {
        let purpose = self.purpose.name();
        match refusal {
            kek::Refusal::Unfinished => unfinished(None),
            kek::Refusal::Retired => Refused::new(
                "kms_key_retired",
                format!("{target} is retired for {purpose} keys"),
                "name another KMS key by --to, or make a new one",
            ),
            kek::Refusal::OtherPurpose => Refused::new(
                "kms_key_of_another_purpose",
                format!(
                    "{target} wraps keys of another purpose, and who may unwrap those could then unwrap {purpose} keys"
                ),
                format!("name a KMS key for {purpose} keys alone by --to"),
            ),
        }
    }
}

fn unfinished(target: Option<&str>) -> Refused {
    let to = target.map(|target| format!(", to {target}")).unwrap_or_default();
    Refused::new(
        "rotation_unfinished",
        format!("another rotation of these keys is not finished{to}"),
        "run it to its end first, by --purpose alone, or give it up: key-rotation kek abandon",
    )
}

#[derive(Serialize)]
struct Nothing {
    ended: &'static str,
    purpose: &'static str,
    target: Option<String>,
    #[serde(skip)]
    of_some: bool,
}

impl fmt::Display for Nothing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Some(_) if self.of_some => {
                writeln!(f, "nothing to do     no {} key was wrapped longer ago than that", self.purpose)
            }
            Some(target) => writeln!(f, "nothing to do     {target} wraps all {} keys", self.purpose),
            None => writeln!(f, "nothing to do     there are no {} keys", self.purpose),
        }
    }
}
