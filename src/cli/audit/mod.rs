mod entry;
mod list;
mod show;
mod verify;

use clap::Subcommand;

use super::exit::ExitStatus;
use super::output::OutputFormat;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List entries, the latest last
    List(Box<list::Args>),
    /// Show all of one entry
    Show(show::Args),
    /// Check that the log is what was recorded, and that what it allowed follows from it
    Verify(verify::Args),
}

pub(super) async fn run(command: Command, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    match command {
        Command::List(args) => list::run(*args, format).await,
        Command::Show(args) => show::run(args, format).await,
        Command::Verify(args) => verify::run(args, format).await,
    }
}
