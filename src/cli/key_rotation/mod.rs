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

use std::fmt;

use clap::Subcommand;

use super::exit::ExitStatus;
use super::output::OutputFormat;
use crate::db::Role;
use crate::domain::{Purpose, RotationKind};

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

/// Who works on rotations of a kind. The slot of a token key is emptied by the owner.
fn role(kind: RotationKind) -> Role {
    match kind {
        RotationKind::Kek => Role::Rewrap,
        RotationKind::DataKey | RotationKind::TokenKey => Role::Reseal,
    }
}

fn none_under_way(f: &mut fmt::Formatter<'_>, kind: RotationKind, purpose: Purpose) -> fmt::Result {
    writeln!(f, "no {} rotation of {} keys is under way", kind.name(), purpose.name())
}
