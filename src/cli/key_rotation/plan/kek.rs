use std::num::NonZeroU32;

use super::estimate::number;
use super::shown::{Calls, Plan};
use crate::cli::config::{DatabaseArgs, usage};
use crate::cli::exit::ExitStatus;
use crate::cli::key_rotation::run::rate;
use crate::cli::output::{self, OutputFormat};
use crate::db::{Role, rotation};
use crate::domain::{KeyState, Purpose, RotationKind};

const EXAMPLES: &str = "\
Counts the keys that would be wrapped anew: each is one call of ReEncrypt, however many rows are
under it. The time is that of the rate. Rows are neither read nor written.

The login needs the role pii_vault_rewrap. AWS is not asked.

Examples:
  pii-vault key-rotation kek plan --purpose data --to arn:aws:kms:eu-central-1:111122223333:key/1234abcd-…
  pii-vault key-rotation kek plan --purpose token --newest-material";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// Which keys: data, token or dead-letter
    #[arg(long, value_name = "PURPOSE", value_parser = purpose)]
    purpose: Purpose,
    /// The KMS key to wrap under, by its ARN
    #[arg(long, value_name = "ARN")]
    to: Option<String>,
    /// Keys that it wraps already as well: its material was rotated
    #[arg(long)]
    newest_material: bool,
    /// Calls a second
    #[arg(long, value_name = "N/s", default_value = "200/s", value_parser = rate)]
    rate: NonZeroU32,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(in crate::cli) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    if args.to.is_none() && !args.newest_material {
        return usage("say what the keys are to be wrapped under: --to ARN, or --newest-material");
    }
    if args.to.as_ref().is_some_and(|to| !to.starts_with("arn:") || !to.contains(":key/")) {
        return usage("--to is the ARN of a KMS key here: an alias says nothing of what wraps the keys now");
    }
    let mut conn = args.database.server()?.connect(Role::Rewrap).await?;
    let groups = rotation::keys(&mut conn, false).await?;
    let is_left = |group: &&rotation::KeyGroup| {
        let is_kept = group.state.is_some_and(|state| state != KeyState::Retired);
        is_kept && group.purpose == args.purpose && (args.newest_material || group.kms_key != args.to)
    };
    let keys: i64 = groups.iter().filter(is_left).map(|group| group.key_count).sum();
    let rate = u32::from(args.rate);
    let plan = Plan {
        kind: RotationKind::Kek.name(),
        purpose: args.purpose.name(),
        keys,
        rows: 0,
        kms_calls: Calls { decrypt: 0, generate_data_key: 0, re_encrypt: keys },
        seconds: Some(number(keys) / f64::from(rate)),
        finish_seconds: None,
        sample: None,
        pace: None,
        assumed: vec![
            format!("{rate} calls a second, by as many workers as that takes: KMS answers within some 20 ms"),
            "keys that are made under the old KMS key meanwhile are wrapped anew too".to_owned(),
        ],
    };
    output::result(format, &plan, &plan)?;
    Ok(ExitStatus::Done)
}

fn purpose(name: &str) -> Result<Purpose, &'static str> {
    let known = Purpose::ALL.into_iter().find(|purpose| purpose.name() == name);
    known.ok_or("the purposes are data, token and dead-letter")
}
