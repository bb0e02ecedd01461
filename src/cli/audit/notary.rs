use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::signing::{SigningArgs, alarmed};
use crate::cli::config::duration;
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::cli::signals::stop_on_signal;
use crate::notary::{self, Report, Until};

const EXAMPLES: &str = "\
A checkpoint is a signature over the last entry of the audit log, and with it over all before. The
notary makes one within milliseconds of whatever is recorded, then one per --gap: a thousand entries
need one signature. What it signs it has read and hashed itself. The copies in sinks are what shows
an auditor that the log was altered since; who administers the database must not be able to change
them. In S3: a bucket of another account, with versioning, and Object Lock in compliance mode.

Copies are only added, never written over: <20 digits>.json each. A sink that can be read back
is compared with the log before each signature. `--on-sink-failure alarm` leaves a gap in a sink
that failed; the next copy in it covers what the missing one did.

The login needs the role pii_vault_notary. The AWS identity needs kms:Sign on the signing key;
for S3 s3:PutObject on the objects, and s3:GetObject and s3:ListBucket to compare. Run two, on
two hosts, if you like: they leave one chain of checkpoints.

Once it runs, `pii-vault access policy set --checkpoints required` makes reading wait for it.

Exit status: 1 PostgreSQL, KMS or a sink failed for longer than --patience; 4 the log is not
what was signed, or is shorter, or an entry was altered: nothing more is signed, and the
sentence says which. After a restore, see `pii-vault audit resume`.

Examples:
  pii-vault audit notary --sink s3://evidence-of-logins/prod --sink /mnt/worm/checkpoints
  pii-vault audit notary --sink - --log-format json | logger -t pii-vault-checkpoint";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// The least time between two signatures
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = duration)]
    gap: Duration,
    #[command(flatten)]
    signing: SigningArgs,
}

pub(in crate::cli) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let signing = args.signing.ready(args.gap).await?;
    let stop = stop_on_signal()?;
    let mut report = Report::default();
    let result = notary::run(&signing.kms, &signing.server, &signing.options, &mut report, Until::Stopped(stop)).await;
    let shown = Shown::of(report);
    let written = if signing.is_collected { Ok(()) } else { output::result(format, &shown, &shown) };
    alarmed(result)?;
    written?;
    Ok(ExitStatus::Done)
}

/// The report, with where the last checkpoint is.
#[derive(Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    report: Report,
    /// The last entry that is signed.
    seq: Option<i64>,
    signed_at: Option<String>,
}

impl Shown {
    pub(super) fn of(report: Report) -> Self {
        let (seq, signed_at) = (report.last.map(|last| last.seq), report.last.map(|last| last.at.to_string()));
        Self { report, seq, signed_at }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "signed            {}", self.report.signed)?;
        if self.report.taken_over > 0 {
            writeln!(
                f,
                "taken over        {}: copies that were in sinks and not in the database",
                self.report.taken_over
            )?;
        }
        match (self.seq, &self.signed_at) {
            (Some(seq), Some(at)) => writeln!(f, "last checkpoint   for entry {seq}, at {at}"),
            _ => writeln!(f, "last checkpoint   none: the audit log has no entry"),
        }
    }
}
