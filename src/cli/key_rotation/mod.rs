//! `key-rotation`: the three kinds of key, and for each plan, run, pause, verify, retire.

mod kek;
mod pause;
mod run;

use clap::Subcommand;

use super::exit::ExitStatus;
use super::output::OutputFormat;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The KMS keys that wrap the keys of the vault
    #[command(subcommand)]
    Kek(kek::Command),
}

pub(super) async fn run(command: Command, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    match command {
        Command::Kek(command) => kek::run(command, format).await,
    }
}
