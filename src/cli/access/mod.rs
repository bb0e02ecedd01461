//! `access`: grants to unmask, and the policy that they are judged by. The database judges, and records.

mod decide;
mod grant;
mod list;
mod policy;
mod request;
mod revoke;

use clap::Subcommand;

use super::exit::ExitStatus;
use super::output::OutputFormat;
use crate::domain::Verdict;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Ask for a grant to unmask more than one may open alone
    Request(Box<request::Args>),
    /// Approve what another asked for
    #[command(after_help = decide::APPROVE)]
    Approve(decide::Args),
    /// Deny what another asked for, for good
    #[command(after_help = decide::DENY)]
    Deny(decide::Args),
    /// Take a grant back, or withdraw a request
    Revoke(revoke::Args),
    /// Show requests and what became of them
    List(list::Args),
    /// Show what may be opened by whom, or set it
    Policy(Box<policy::Args>),
}

pub(super) async fn run(command: Command, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    match command {
        Command::Request(args) => request::run(*args, format).await,
        Command::Approve(args) => decide::run(args, Verdict::Approved, format).await,
        Command::Deny(args) => decide::run(args, Verdict::Denied, format).await,
        Command::Revoke(args) => revoke::run(args, format).await,
        Command::List(args) => list::run(args, format).await,
        Command::Policy(args) => policy::run(*args, format).await,
    }
}
