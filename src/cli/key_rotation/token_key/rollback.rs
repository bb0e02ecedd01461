use super::emptying::{empty, tell};
use super::refusal::not_done;
use crate::cli::config::{DatabaseArgs, reason, usage};
use crate::cli::exit::ExitStatus;
use crate::cli::key_rotation::run::PaceArgs;
use crate::cli::output::OutputFormat;
use crate::cli::progress;
use crate::key_rotation::cut_over::{self, CutOverError, Refusal};

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
#[command(after_help = EXAMPLES)]
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
    let (line, patience) = (progress::line(), args.pace.options().patience);
    let begun = cut_over::roll_back(&server, args.reason.as_deref(), patience, |progress| tell(line, &progress)).await;
    line.finish_and_clear();
    match begun {
        Ok(job) => empty(&server, job, &args.pace, "rolled back", format).await,
        Err(CutOverError::Refused(Refusal::NoReason)) => usage("to roll back, say why: --reason TEXT"),
        Err(error) => not_done(error, format),
    }
}
