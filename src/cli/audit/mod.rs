mod checkpoint;
mod entry;
mod export;
mod list;
mod notary;
mod public_key;
mod reconcile;
mod report;
mod resume;
mod show;
mod signing;
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
    Verify(Box<verify::Args>),
    /// Write the log and its checkpoints as JSON lines, for who verifies or searches it elsewhere
    Export(export::Args),
    /// Sign the audit log as it grows, with copies outside of the database, until SIGTERM
    Notary(Box<notary::Args>),
    /// Sign the audit log once, as it is now
    Checkpoint(Box<checkpoint::Args>),
    /// Write down who read what of a case or in a month, and whether the log can be believed
    Report(Box<report::Args>),
    /// Compare the log with AWS's own record of the keys that were unwrapped
    Reconcile(Box<reconcile::Args>),
    /// Bring a log that was restored from a backup back into service
    Resume(Box<resume::Args>),
    /// Print the key that verifies checkpoints, as PEM
    PublicKey(public_key::Args),
}

pub(super) async fn run(command: Command, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    match command {
        Command::List(args) => list::run(*args, format).await,
        Command::Show(args) => show::run(args, format).await,
        Command::Verify(args) => verify::run(*args, format).await,
        Command::Export(args) => export::run(args, format).await,
        Command::Notary(args) => notary::run(*args, format).await,
        Command::Checkpoint(args) => checkpoint::run(*args, format).await,
        Command::Report(args) => report::run(*args, format).await,
        Command::Reconcile(args) => reconcile::run(*args, format).await,
        Command::Resume(args) => resume::run(*args, format).await,
        Command::PublicKey(args) => public_key::run(args, format).await,
    }
}
