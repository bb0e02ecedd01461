use std::fmt;

use serde::Serialize;

use super::purpose;
use crate::cli::config::{DatabaseArgs, reason};
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::cli::refusal::Refused;
use crate::db::Role;
use crate::db::rotation::kek::{self, Retirement};
use crate::domain::Purpose;

/// Tries for the lock on the keys, of 2 s each.
const TRIES: u32 = 3;

const EXAMPLES: &str = "\
From then on PostgreSQL stores no key of the purpose that this KMS key wraps. An ingestion that
still has it in its settings, or an alias that is moved back to it, ends with an error that says so,
before anything is sealed. Refused while it wraps a key that is not retired itself.

It changes nothing in AWS. Disable the KMS key there, and delete it only once no backup is of use
any more that holds keys which it wraps.

It waits for transactions that have keys in hand, 2 s at most, three times.

The login needs the role pii_vault_rewrap; AWS is not asked.

Exit status 3: refused.

Examples:
  pii-vault key-rotation kek retire --purpose data --reason 'after the move' \\
    --kms-key arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// Of which keys: data, token or dead-letter
    #[arg(long, value_name = "PURPOSE", value_parser = purpose)]
    purpose: Purpose,
    /// The KMS key, by its ARN: an alias may have been moved. `key-rotation kek verify` shows those that are in use
    #[arg(long, value_name = "ARN", value_parser = arn)]
    kms_key: String,
    /// Why, for the record: at most 1000 characters
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(in crate::cli) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let mut conn = args.database.server()?.connect(Role::Rewrap).await?;
    let mut outcome = (Retirement::Busy, 0);
    for _ in 0..TRIES {
        outcome = kek::retire(&mut conn, args.purpose, &args.kms_key, &args.reason).await?;
        if outcome.0 != Retirement::Busy {
            break;
        }
    }
    let (kms_key, purpose) = (args.kms_key, args.purpose.name());
    let refused = |because: String, next| Refused::new(outcome.0.name(), because, next);
    let refused = match outcome.0 {
        Retirement::Retired | Retirement::AlreadyRetired => {
            let retired = Retired { kms_key, purpose, new: outcome.0 == Retirement::Retired };
            output::result(format, &retired, &retired)?;
            return Ok(ExitStatus::Done);
        }
        Retirement::Unknown => refused(
            format!("it never wrapped a {purpose} key of this vault"),
            format!("pii-vault key-rotation kek verify --purpose {purpose} shows what does"),
        ),
        Retirement::InUse => refused(
            format!("it wraps {} {purpose} keys that are not retired", outcome.1),
            format!("pii-vault key-rotation kek run --purpose {purpose} --to … --reason …"),
        ),
        Retirement::RotationUnfinished => refused(
            "a rotation to it is not finished".to_owned(),
            format!("pii-vault key-rotation kek run --purpose {purpose}"),
        ),
        Retirement::Busy => anyhow::bail!(
            "other transactions had keys in hand for too long, and nothing was changed; try again. `pii-vault doctor`, \
             which an administrator runs, names who holds things up"
        ),
    };
    refused.tell(format)
}

#[derive(Serialize)]
struct Retired {
    kms_key: String,
    purpose: &'static str,
    /// Whether it was not retired before.
    new: bool,
}

impl fmt::Display for Retired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = if self.new { "" } else { ", as it was before" };
        writeln!(f, "retired           {}, for {} keys{before}", self.kms_key, self.purpose)
    }
}

fn arn(text: &str) -> Result<String, &'static str> {
    if !text.starts_with("arn:") || !text.contains(":key/") {
        return Err("the ARN of a KMS key, like arn:aws:kms:eu-central-1:111122223333:key/1234abcd-…");
    }
    Ok(text.to_owned())
}
