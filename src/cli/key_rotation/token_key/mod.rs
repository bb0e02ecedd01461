//! `key-rotation token-key`.

mod cut_over;
mod empty;
mod finish;
mod plan;
mod refusal;
mod retire;
mod rollback;
mod run;
mod token_map;
mod verify;
mod verify_done;
mod watched;

use clap::Subcommand;

use crate::cli::exit::ExitStatus;
use crate::cli::key_rotation::pause;
use crate::cli::output::OutputFormat;
use crate::domain::{Purpose, RotationKind};

const PAUSE_EXAMPLES: &str = "\
Runners stop before their next page. `key-rotation token-key run` goes on where they were; so does
`finish`, or `rollback`, where it was that.

The login needs the role pii_vault_reseal; while `finish` or `rollback` empties a slot,
pii_vault_owner. Where neither rows are filled nor a slot is emptied, nothing is at work, and that
is said: nothing is paused or recorded.

Examples:
  pii-vault key-rotation token-key pause --reason 'the disks are busy'";

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// How many rows there are to do, and how long it would take
    Plan(plan::Args),
    /// Make the next token key, and give every row its tokens beside the old ones
    Run(run::Args),
    /// Make the runners of the rotation stop
    #[command(after_help = PAUSE_EXAMPLES)]
    Pause(pause::Args),
    /// Prove that tokens of both keys show the same duplicates, or, once it is done, that no old one is left
    Verify(verify::Args),
    /// Old tokens and new ones side by side, for who stored tokens elsewhere, on the record
    TokenMap(token_map::Args),
    /// Show analysts the tokens of the new key, once every row has them
    CutOver(cut_over::Args),
    /// Give the new key up, before or after cut-over, and empty its slot
    Rollback(rollback::Args),
    /// Give the old key up, and empty its slot; there is no way back
    Finish(finish::Args),
    /// Take token keys out of all use that no row has tokens of
    Retire(retire::Args),
}

pub(in crate::cli) async fn run(command: Command, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    match command {
        Command::Plan(args) => plan::run(args, format).await,
        Command::Pause(args) => pause::run(RotationKind::TokenKey, Purpose::Token, args, format).await,
        Command::Run(args) => run::run(args, format).await,
        Command::TokenMap(args) => token_map::run(args, format).await,
        Command::CutOver(args) => cut_over::run(args, format).await,
        Command::Finish(args) => finish::run(args, format).await,
        Command::Rollback(args) => rollback::run(args, format).await,
        Command::Retire(args) => retire::run(args, format).await,
        Command::Verify(args) => verify::run(args, format).await,
    }
}
