use super::empty::{PATIENCE, empty};
use super::refusal::not_done;
use super::watched::watched;
use crate::cli::config::{DatabaseArgs, reason};
use crate::cli::exit::ExitStatus;
use crate::cli::key_rotation::run::PaceArgs;
use crate::cli::output::OutputFormat;
use crate::key_rotation::token_key;

const EXAMPLES: &str = "\
After cut-over, once nobody needs the old tokens. The old key makes no tokens any more; its indexes
are dropped, and its slot is emptied row by row. unmask finds nothing by old tokens from here on,
and there is no way back. It can be interrupted and run again, and run twice at once.

The login needs to be a member of pii_vault_owner, as the one that ran `pii-vault init` is.

Exit status 3: refused: there was no cut-over, or a rollback. 0 also where it was paused or told to
stop: the same command goes on.

Examples:
  pii-vault key-rotation token-key finish
  pii-vault key-rotation token-key finish --rate 5000/s --reason 'two weeks are over'";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES, mut_arg("patience", |patience| patience.help(PATIENCE)))]
pub(in crate::cli) struct Args {
    /// Why now, for the record: at most 1000 characters
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
    match watched(async |told| token_key::finish(&server, reason, patience, told).await).await {
        Ok(job) => empty(&server, job, &args.pace, "finished", format).await,
        Err(error) => not_done(error, format),
    }
}
