//! `key-rotation`: the three kinds of key, and for each plan, run, pause, verify, retire.

mod run;

use clap::Subcommand;

use super::exit::ExitStatus;
use super::output::OutputFormat;

#[derive(Debug, Subcommand)]
pub(super) enum Command {}

pub(super) async fn run(command: Command, _format: OutputFormat) -> anyhow::Result<ExitStatus> {
    match command {}
}
