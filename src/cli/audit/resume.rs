use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tracing::error;

use super::signing::{Place, place, sinks};
use crate::audit::so_many;
use crate::aws::client::LazyConfig;
use crate::cli::config::{DatabaseArgs, checkpoint_key, reason, usage};
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::cli::refusal::Refused;
use crate::db::Role;
use crate::notary::{Failing, Options, ResumeError, Resumed, WentOn, resume};

const EXAMPLES: &str = "\
For a database that was restored from a backup. Its log then ends before what was signed; the
notary refuses it, with exit status 4, until this command has recorded that. The entry says who,
when and why, names the newest checkpoint that is outside, and has a number beyond that one, so
that no number is signed twice: those between are gone from the log, and `pii-vault audit verify`
says so for ever. Receipts and redrive jobs from before hand out nothing any more.

Stop every notary before you restore: one that has signed and not copied yet could leave a second
signature for a number. Name all places that copies are in, for the newest may be in
any. What nobody signed and is lost, nothing shows.

With the log other things went back to an older state. Before you let anybody in:
  - grants that were revoked, and policy that was tightened, since the backup hold again:
    `pii-vault access list`, `pii-vault access policy`
  - values that officers and grants have used up since are free again
  - events since the backup are missing; queues and archives may still have them

The login needs to be a member of pii_vault_owner; the AWS identity, for S3, s3:GetObject and
s3:ListBucket.

Exit status: 3 nothing tells that the database was restored; 4 it is not what was signed: it was
altered, or it is of another vault. What was put back and went on recording before that was noticed
looks like what was altered; --went-on says that it was so.

Examples:
  pii-vault audit resume --reason 'disk of db1 lost, dump of 03:00' --dry-run \\
      --sink s3://evidence-of-logins/prod --public-key checkpoint-key.pem
  pii-vault audit resume --reason 'disk of db1 lost, dump of 03:00' \\
      --sink s3://evidence-of-logins/prod --sink /mnt/worm/checkpoints \\
      --public-key checkpoint-key.pem";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// Why, for the record: at most 1000 characters
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
    /// Where copies of checkpoints are: a directory or s3://bucket/prefix; can be repeated
    #[arg(long = "sink", value_name = "WHERE", value_parser = place)]
    sinks: Vec<Place>,
    /// The public key (PEM) of checkpoints, as `audit public-key` prints it
    #[arg(long, value_name = "FILE", env = "PII_VAULT_CHECKPOINT_PUBLIC_KEY", hide_env_values = true)]
    public_key: Option<PathBuf>,
    /// The database went on recording after it was put back, and before that was noticed
    #[arg(long)]
    went_on: bool,
    /// Show what would be recorded, and record nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(super) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    if args.sinks.contains(&Place::StandardOutput) {
        return usage("from standard output nothing can be read back; name a directory or a bucket");
    }
    let Some(public_key) = args.public_key.as_deref().map(checkpoint_key).transpose()? else {
        return usage("--public-key is missing, without which nobody knows what was signed");
    };
    if args.sinks.is_empty() {
        return usage("--sink is missing: what was signed, copies outside of the database tell");
    }
    let server = args.database.server()?;
    let aws = LazyConfig::default();
    let options = Options {
        sinks: sinks(args.sinks, aws.get().await),
        on_sink_failure: Failing::Stops,
        public_key: Some(public_key),
        gap: Duration::ZERO,
        patience: Duration::ZERO,
    };
    let mut conn = server.connect(Role::Owner).await?;
    let went_on = if args.went_on { WentOn::Yes } else { WentOn::No };
    match resume(&mut conn, &options, went_on, &args.reason, args.dry_run).await {
        Ok(resumed) => {
            let shown = Shown { is_recorded: !args.dry_run, resumed };
            output::result(format, &shown, &shown)?;
            Ok(ExitStatus::Done)
        }
        Err(refused @ ResumeError::NothingRestored) => {
            let next = "nothing is to be done; if it was restored, name more places of copies by --sink";
            Refused::new("nothing_restored", refused.to_string(), next).tell(format)
        }
        Err(broken) => {
            if broken.is_broken() {
                error!(%broken, "ALARM: audit log and checkpoints do not fit together; nothing is recorded");
            }
            Err(broken.into())
        }
    }
}

#[derive(Serialize)]
struct Shown {
    #[serde(rename = "recorded")]
    is_recorded: bool,
    #[serde(flatten)]
    resumed: Resumed,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Resumed { seq, last, lost_after, lost_through, lost_signed_at, closed_receipts, closed_redrive_jobs } =
            &self.resumed;
        match self.is_recorded {
            true => writeln!(f, "recorded          as entry {seq} of the audit log, after entry {last}")?,
            false => writeln!(f, "not recorded      it would be entry {seq} of the audit log, after entry {last}")?,
        }
        match (lost_after, lost_through, lost_signed_at) {
            (Some(after), Some(through), Some(at)) => writeln!(
                f,
                "lost              what was signed after entry {after}: up to entry {through}, at {at}; and what nobody signed"
            )?,
            _ => writeln!(f, "lost              nothing that was signed; and what nobody signed")?,
        }
        if let (Some(receipts), Some(jobs)) = (*closed_receipts, *closed_redrive_jobs) {
            let (receipts, jobs) = (so_many(receipts, "receipt"), so_many(jobs, "redrive job"));
            writeln!(f, "closed            {receipts} and {jobs} of the last 10 minutes, and all before")?;
        }
        writeln!(
            f,
            "next: revoke anew what was revoked since the backup, and look at the policy; then start the notary"
        )
    }
}
