use super::empty::{PATIENCE, empty};
use super::refusal::not_done;
use super::watched::watched;
use crate::cli::config::{DatabaseArgs, reason};
use crate::cli::exit::ExitStatus;
use crate::cli::key_rotation::run::PaceArgs;
use crate::cli::output::OutputFormat;
use crate::key_rotation::token_key;

const EXAMPLES: &str = "\
Before `finish`, from wherever the rotation is. Analysts see the old tokens, as before or again, all
at once; the new key makes no tokens any more; its slot is emptied row by row. It can be interrupted
and run again, and run twice at once.

The login needs to be a member of pii_vault_owner, and CREATE on schema public, as the one that ran
`pii-vault init` has.

Exit status 3: refused: nothing is under way, or it was finished. 0 also where it was paused or told
to stop: the same command goes on.

Examples:
  pii-vault key-rotation token-key rollback --reason 'dashboards keep tokens of their own'";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES, mut_arg("patience", |patience| patience.help(PATIENCE)))]
pub(in crate::cli) struct Args {
    /// Why, for the record: at most 1000 characters. Needed to begin, not to go on
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
    #[command(flatten)]
    pace: PaceArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(in crate::cli) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let server = args.database.server()?;
    let (reason, patience) = (args.reason.as_deref(), args.pace.patience);
    match watched(async |told| token_key::roll_back(&server, reason, patience, told).await).await {
        Ok(job) => empty(&server, job, &args.pace, "rolled back", format).await,
        Err(error) => not_done(error, format),
    }
}
