mod dead_letters;
mod input;
mod queue;
mod redrive;
mod run;
mod summary;

use clap::Subcommand;

use super::exit::ExitStatus;
use super::output::OutputFormat;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Drain the queue, or a file, into the vault
    Run(Box<run::Args>),
    /// Messages that could not be stored as events
    #[command(subcommand)]
    DeadLetters(DeadLetters),
}

#[derive(Debug, Subcommand)]
pub(super) enum DeadLetters {
    /// List them: reason, size, when and message id; never what they hold
    List(dead_letters::ListArgs),
    /// Open them and send them through the pipeline again; those that pass today become events
    Redrive(Box<redrive::Args>),
}

pub(super) async fn run(command: Command, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    match command {
        Command::Run(args) => run::run(*args, format).await,
        Command::DeadLetters(DeadLetters::List(args)) => dead_letters::list(args, format).await,
        Command::DeadLetters(DeadLetters::Redrive(args)) => redrive::run(*args, format).await,
    }
}
