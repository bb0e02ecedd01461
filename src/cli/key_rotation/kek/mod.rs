//! `key-rotation kek`: keys of one purpose, and the KMS key that wraps them.

mod choice;
mod plan;
mod retire;
mod run;
mod verify;

use clap::Subcommand;
use uuid::Uuid;

use super::{abandon, pause};
use crate::aws::{Kms, KmsKeys, client};
use crate::cli::exit::ExitStatus;
use crate::cli::output::OutputFormat;
use crate::domain::{Purpose, RotationKind};

const PAUSE_EXAMPLES: &str = "\
Runners stop before their next page. `key-rotation kek run` goes on where they were.

The login needs the role pii_vault_rewrap.

Examples:
  pii-vault key-rotation kek pause --purpose data --reason 'KMS throttles the checkout service'";

const ABANDON_EXAMPLES: &str = "\
For a rotation that cannot come to its end, as the KMS key to wrap by is lost, or that is not to.
Keys that were wrapped anew stay so; the others stay as they were. Its runners end. Another rotation
of the same keys can begin at once, and wraps those anew as well that this one moved.

It cannot be taken back. The audit log says who gave it up, and why. To go on later, use pause.

The login needs the role pii_vault_rewrap.

Examples:
  pii-vault key-rotation kek abandon --purpose data --reason 'its KMS key was deleted, C-7'";

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// How many keys would be wrapped anew, and how long it would take
    Plan(plan::Args),
    /// Have KMS wrap all keys of a purpose anew, or go on with it
    Run(run::Args),
    /// Make the runners of a rotation stop
    #[command(after_help = PAUSE_EXAMPLES)]
    Pause(PauseArgs),
    /// Give a rotation up: what was done stays done
    #[command(after_help = ABANDON_EXAMPLES)]
    Abandon(AbandonArgs),
    /// Prove that one KMS key wraps all keys of a purpose, and that they unwrap
    Verify(verify::Args),
    /// Let a KMS key wrap no key of a purpose any more
    Retire(retire::Args),
}

#[derive(clap::Args, Debug)]
pub(in crate::cli) struct PauseArgs {
    /// Which keys: data, token or dead-letter
    #[arg(long, value_name = "PURPOSE", value_parser = purpose)]
    purpose: Purpose,
    #[command(flatten)]
    pause: pause::Args,
}

#[derive(clap::Args, Debug)]
pub(in crate::cli) struct AbandonArgs {
    /// Which keys: data, token or dead-letter
    #[arg(long, value_name = "PURPOSE", value_parser = purpose)]
    purpose: Purpose,
    #[command(flatten)]
    abandon: abandon::Args,
}

pub(super) async fn run(command: Command, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    match command {
        Command::Plan(args) => plan::run(args, format).await,
        Command::Run(args) => run::run(args, format).await,
        Command::Pause(args) => pause::run(RotationKind::Kek, args.purpose, args.pause, format).await,
        Command::Abandon(args) => abandon::run(RotationKind::Kek, args.purpose, args.abandon, format).await,
        Command::Verify(args) => verify::run(args, format).await,
        Command::Retire(args) => retire::run(args, format).await,
    }
}

/// KMS under the name of a job, or under none for what is not recorded. `ReEncrypt` names its KMS keys each time.
async fn kms(job: Option<Uuid>) -> Kms {
    let (config, keys) = (client::load().await, KmsKeys::default());
    match job {
        Some(job) => Kms::for_job(&config, job, keys),
        None => Kms::new(&config, keys),
    }
}

fn no_such_key(purpose: Purpose) -> String {
    format!(
        "one of these is no {0} key, or is retired; `pii-vault key-rotation status --keys --purpose {0}` lists them",
        purpose.name()
    )
}

pub(super) fn purpose(name: &str) -> Result<Purpose, &'static str> {
    let known = Purpose::ALL.into_iter().find(|purpose| purpose.name() == name);
    known.ok_or("the purposes are data, token and dead-letter")
}
