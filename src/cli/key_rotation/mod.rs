//! `key-rotation`: the three kinds of key, and for each plan, run, pause, verify, retire.

mod abandon;
mod data_key;
mod kek;
mod pause;
mod plan;
mod run;
mod status;
mod token_key;
mod wrong_row;

use clap::Subcommand;

use super::exit::ExitStatus;
use super::output::OutputFormat;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Data keys: what seals the values of rows
    #[command(subcommand)]
    DataKey(data_key::Command),
    /// The KMS keys that wrap the keys of the vault
    #[command(subcommand)]
    Kek(kek::Command),
    /// The keys, what is under each, and the rotations
    Status(status::Args),
    /// The key of the tokens: a new one beside it, tokens of both for every row, then cut-over
    #[command(subcommand)]
    TokenKey(token_key::Command),
}

pub(super) async fn run(command: Command, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    match command {
        Command::DataKey(command) => data_key::run(command, format).await,
        Command::Kek(command) => kek::run(command, format).await,
        Command::Status(args) => status::run(args, format).await,
        Command::TokenKey(command) => token_key::run(command, format).await,
    }
}
