//! `key-rotation token-key`.

mod refusal;
mod run;
mod token_map;
mod verify;

use clap::Subcommand;

use crate::cli::exit::ExitStatus;
use crate::cli::key_rotation::pause;
use crate::cli::output::OutputFormat;
use crate::domain::{Purpose, RotationKind};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Make the runners of a rotation stop
    Pause(pause::Args),
    /// Make the next token key, and give every row its tokens beside the old ones
    Run(run::Args),
    /// Old tokens and new ones side by side, for who stored tokens elsewhere, on the record
    TokenMap(token_map::Args),
    /// Prove that every row has tokens of both keys, and that both show the same duplicates
    Verify(verify::Args),
}

pub(in crate::cli) async fn run(command: Command, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    match command {
        Command::Pause(args) => pause::run(RotationKind::TokenKey, Purpose::Token, args, format).await,
        Command::Run(args) => run::run(args, format).await,
        Command::TokenMap(args) => token_map::run(args, format).await,
        Command::Verify(args) => verify::run(args, format).await,
    }
}
