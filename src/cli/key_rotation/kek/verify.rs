use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::run::RATE;
use super::{kms, purpose};
use crate::aws::KmsKeys;
use crate::cli::config::{DatabaseArgs, KmsArgs, duration};
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::db::{Role, vault};
use crate::domain::Purpose;
use crate::key_rotation::kek::{Calls, Verified, target, verify};
use crate::patience::Patience;

const EXAMPLES: &str = "\
By query: whether the KMS key wraps all keys of the purpose, those that are retired left out; with
--newest-material, whether it wrapped all of them after the last rotation to its newest material
was recorded. By sampling: KMS wraps keys anew by the key that wraps them, under their context, and
the result is thrown away, so each of them unwraps. Nothing is changed, and nothing recorded.

The login needs the role pii_vault_rewrap, the AWS identity kms:ReEncrypt* on the KMS keys.

Exit status 0: it is so. 1: keys are left under other KMS keys or material; run the rotation. 4: KMS
does not unwrap some keys.

Examples:
  pii-vault key-rotation kek verify --purpose data
  pii-vault key-rotation kek verify --purpose token --newest-material
  pii-vault key-rotation kek verify --purpose data --to alias/pii-vault-data-2027 --sample 10000";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// Which keys: data, token or dead-letter
    #[arg(long, value_name = "PURPOSE", value_parser = purpose)]
    purpose: Purpose,
    /// The KMS key that should wrap them: alias, id or ARN. Without it, the one that is set for the purpose, below
    #[arg(long, value_name = "KEY")]
    to: Option<String>,
    /// And by its newest material
    #[arg(long)]
    newest_material: bool,
    /// So many keys, chosen at random, are tried; 200 a second
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    sample: i32,
    /// How long KMS may be away before this gives up
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    patience: Duration,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    kms: KmsArgs,
}

pub(in crate::cli) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let mut conn = args.database.server()?.connect(Role::Rewrap).await?;
    let vault = vault::id(&mut conn).await?;
    let to = args.to.unwrap_or_else(|| KmsKeys::from(args.kms).wrapping(args.purpose).to_owned());
    let calls = Calls::new(kms(None).await, vault, args.purpose, Some(RATE), Patience(args.patience));
    let target = target(&mut conn, &calls, &to).await?;
    let verified = verify(&mut conn, &calls, target.as_deref().unwrap_or_default(), args.sample).await?;
    let shown = Shown::new(args.purpose, target, args.newest_material, verified);
    output::result(format, &shown, &shown)?;
    Ok(match (shown.failed.is_empty(), shown.complete) {
        (false, _) => ExitStatus::IntegrityBroken,
        (true, false) => ExitStatus::Failed,
        (true, true) => ExitStatus::Done,
    })
}

#[derive(Serialize)]
struct Shown {
    purpose: &'static str,
    /// `null` where there is no key.
    target: Option<String>,
    complete: bool,
    keys: i64,
    /// Under other KMS keys.
    left: i64,
    /// Whether the KMS key wraps some by an older material; `null`: not asked, or not known.
    older_material: Option<bool>,
    wrapped_by: Vec<WrappedBy>,
    sampled: u64,
    unwrapped: u64,
    failed: Vec<Failed>,
    #[serde(skip)]
    newest_asked: bool,
}

#[derive(Serialize)]
struct WrappedBy {
    kms_key: String,
    keys: i64,
}

#[derive(Serialize)]
struct Failed {
    key: String,
    kms_key: String,
}

impl Shown {
    fn new(purpose: Purpose, target: Option<String>, newest_asked: bool, verified: Verified) -> Self {
        let is_it = |kms_key: &String| Some(kms_key) == target.as_ref();
        let keys = verified.wrapping.iter().map(|wrapping| wrapping.key_count).sum();
        let left = verified.wrapping.iter().filter(|by| !is_it(&by.kms_key)).map(|by| by.key_count).sum();
        let first = verified.wrapping.iter().find(|by| is_it(&by.kms_key)).map(|by| by.wrapped_first);
        let older_material = if verified.older_material > 0 {
            Some(true)
        } else {
            first.zip(verified.newest_since).map(|(first, since)| first < since)
        };
        Self {
            purpose: purpose.name(),
            complete: left == 0 && (!newest_asked || keys == 0 || older_material == Some(false)),
            target,
            keys,
            left,
            older_material: older_material.filter(|_| newest_asked),
            wrapped_by: verified
                .wrapping
                .into_iter()
                .map(|by| WrappedBy { kms_key: by.kms_key, keys: by.key_count })
                .collect(),
            sampled: verified.sampled,
            unwrapped: verified.unwrapped,
            failed: verified
                .failed
                .into_iter()
                .map(|failed| Failed { key: failed.key.to_string(), kms_key: failed.kms_key })
                .collect(),
            newest_asked,
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { purpose, keys, sampled, unwrapped, .. } = self;
        let Some(target) = &self.target else { return writeln!(f, "complete          there are no {purpose} keys") };
        writeln!(f, "KMS key           {target}")?;
        writeln!(f, "{purpose} keys{:width$}{keys}", "", width = 13_usize.saturating_sub(purpose.len()))?;
        for WrappedBy { kms_key, keys } in &self.wrapped_by {
            writeln!(f, "  {keys:>8}        by {kms_key}")?;
        }
        writeln!(f, "unwrap            {unwrapped} of {sampled} that were tried")?;
        for Failed { key, kms_key } in &self.failed {
            writeln!(f, "  {key}  does not unwrap by {kms_key}: it was altered or moved")?;
        }
        match (self.newest_asked, self.older_material) {
            (true, None) => {
                writeln!(f, "newest material   not known: no rotation to it is recorded, see run --newest-material")?
            }
            (true, Some(true)) => writeln!(f, "newest material   an older one wraps some")?,
            (true, Some(false)) => writeln!(f, "newest material   wraps all of them")?,
            (false, _) => {}
        }
        if self.complete {
            writeln!(f, "complete          it wraps all of them")
        } else {
            writeln!(f, "not complete      pii-vault key-rotation kek run --purpose {purpose} --reason …")
        }
    }
}
