//! `plan` of each kind: how much there is to do, and how long it takes by a measured sample. Nothing is changed.

pub(super) mod data_key;
mod estimate;
mod shown;
pub(super) mod token_key;

use clap::Subcommand;

use crate::cli::exit::ExitStatus;
use crate::cli::output::OutputFormat;
pub(super) use estimate::number;
pub(super) use shown::{Plan, Requests};

/// Of the kinds that have no subcommands of their own yet.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Rows that would be sealed anew
    DataKey(data_key::Args),
    /// Rows that would get tokens of a new key
    TokenKey(token_key::Args),
}

pub(in crate::cli) async fn run(command: Command, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    match command {
        Command::DataKey(args) => data_key::run(args, format).await,
        Command::TokenKey(args) => token_key::run(args, format).await,
    }
}
