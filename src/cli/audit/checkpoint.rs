use std::time::Duration;

use super::notary::Shown;
use super::signing::{SigningArgs, alarmed};
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::notary::{self, Report, Until};

const EXAMPLES: &str = "\
As `pii-vault audit notary`, which see, but once: signs the last entry of the audit log, if no
checkpoint covers it yet. For a scheduler, where policy does not ask for checkpoints before each
read; what is recorded between two of them is not signed yet.

Examples:
  pii-vault audit checkpoint --sink s3://evidence-of-logins/prod
  pii-vault audit checkpoint --sink /mnt/worm/checkpoints --output json";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    signing: SigningArgs,
}

pub(in crate::cli) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let signing = args.signing.ready(Duration::ZERO).await?;
    let mut report = Report::default();
    let result = notary::run(&signing.kms, &signing.server, &signing.options, &mut report, Until::Signed).await;
    alarmed(result)?;
    if !signing.is_collected {
        let shown = Shown::of(report);
        output::result(format, &shown, &shown)?;
    }
    Ok(ExitStatus::Done)
}
