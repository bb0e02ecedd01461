use std::time::{Duration, Instant};

use super::choice::ChoiceArgs;
use super::run::RATE;
use super::{kms, no_such_key, purpose};
use crate::aws::KmsKeys;
use crate::cli::config::{DatabaseArgs, KmsArgs, usage};
use crate::cli::exit::ExitStatus;
use crate::cli::key_rotation::plan::{Plan, Requests, number};
use crate::cli::key_rotation::run::PaceArgs;
use crate::cli::output::{self, OutputFormat};
use crate::db::rotation::kek::{self, Which};
use crate::db::{Role, vault};
use crate::domain::{AccessRefusal, Purpose, RotationKind};
use crate::key_rotation::kek::{AT_ONCE, Calls, target};

const EXAMPLES: &str = "\
Counts the keys that would be wrapped anew: each is one call of ReEncrypt, however many rows are
under it. Rows are neither read nor written. To find out what an alias stands for, and how long a
call takes, KMS wraps one of the keys anew twice, and what it answers is thrown away.

The login needs the role pii_vault_rewrap, the AWS identity kms:ReEncrypt* on both KMS keys.

Examples:
  pii-vault key-rotation kek plan --purpose data --to alias/pii-vault-data-2027
  pii-vault key-rotation kek plan --purpose token --newest-material
  pii-vault key-rotation kek plan --purpose data --max-age 90d";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// Which keys: data, token or dead-letter
    #[arg(long, value_name = "PURPOSE", value_parser = purpose)]
    purpose: Purpose,
    /// The KMS key to wrap by: alias, id or ARN. Without it, the one that is set for the purpose, below
    #[arg(long, value_name = "KEY")]
    to: Option<String>,
    /// Also count what this KMS key wraps already, for its newest material
    #[arg(long)]
    newest_material: bool,
    #[command(flatten)]
    choice: ChoiceArgs,
    #[command(flatten)]
    pace: PaceArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    kms: KmsArgs,
}

pub(in crate::cli) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let mut conn = args.database.server()?.connect(Role::Rewrap).await?;
    let options = args.pace.options();
    let to = args.to.unwrap_or_else(|| KmsKeys::from(args.kms).wrapping(args.purpose).to_owned());
    let vault = vault::id(&mut conn).await?;
    let calls = Calls::new(kms(None).await, vault, args.purpose, None, options.patience);
    let to = target(&mut conn, &calls, &to).await?;
    // The first call made the connection.
    let began = Instant::now();
    let call = match &to {
        Some(arn) => target(&mut conn, &calls, arn).await?.map(|_| began.elapsed()),
        None => None,
    };
    let which = args.choice.which(args.newest_material);
    // Without a key there is no KMS key to wrap by, and nothing to count.
    let keys = match kek::plan(&mut conn, args.purpose, to.as_deref().unwrap_or_default(), &which).await {
        Err(error) if error.refusal() == Some(AccessRefusal::Malformed) => return usage(&no_such_key(args.purpose)),
        keys => keys?,
    };
    let is_of_all = !matches!(which, Which::Chosen { .. });
    let rate = options.rate.unwrap_or(RATE).get();
    let at_once = f64::from(u32::try_from(options.workers.saturating_mul(AT_ONCE)).unwrap_or(u32::MAX));
    let each = |call: Duration| (call.as_secs_f64() / at_once).max(1.0 / f64::from(rate));
    let told = call.map(|call| format!("a call of KMS took {:.0} ms from here", call.as_secs_f64() * 1000.0));
    let plan = Plan {
        kind: RotationKind::Kek.name(),
        purpose: args.purpose.name(),
        keys,
        rows: 0,
        kms_calls: Requests { decrypt: 0, generate_data_key: 0, re_encrypt: keys },
        seconds: call.map(|call| number(keys) * each(call)),
        finish_seconds: None,
        sample: None,
        pace: None,
        kms_seconds_per_call: call.map(|call| call.as_secs_f64()),
        target: to.clone(),
        assumed: [
            to.map(|to| format!("to {to}")),
            told,
            Some(format!("at most {rate} calls a second, {at_once} at once")),
            is_of_all.then(|| "keys that the old KMS key wraps meanwhile are wrapped anew too".to_owned()),
        ]
        .into_iter()
        .flatten()
        .collect(),
    };
    output::result(format, &plan, &plan)?;
    Ok(ExitStatus::Done)
}
