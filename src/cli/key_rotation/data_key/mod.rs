//! `key-rotation data-key`.

mod keys;
mod plan;
mod retire;
mod run;
mod set_aside;
mod verify;

use clap::Subcommand;

use super::{abandon, pause};
use crate::cli::exit::ExitStatus;
use crate::cli::output::OutputFormat;
use crate::domain::{Purpose, RotationKind};

const PAUSE_EXAMPLES: &str = "\
Runners stop before their next page. `key-rotation data-key run` goes on where they were.

The login needs the role pii_vault_reseal.

Examples:
  pii-vault key-rotation data-key pause --reason 'the disks are busy'";

const ABANDON_EXAMPLES: &str = "\
For a rotation that is not to come to its end. Rows that were sealed anew stay so; the others stay
under their keys, which open and seal nothing any more. Its runners end. Another rotation, which
names those keys, does the rest.

It cannot be taken back. The audit log says who gave it up, and why. To go on later, use pause.

The login needs the role pii_vault_reseal.

Examples:
  pii-vault key-rotation data-key abandon --reason 'one more key leaked: all begins anew, C-7'";

const NO_SUCH_KEY: &str =
    "one of these is no data key, or is retired; `pii-vault key-rotation status --keys --purpose data` lists them";

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// How many keys and rows there are to do, and how long it would take
    Plan(plan::Args),
    /// Seal rows anew under fresh keys, so that nothing is left under old or leaked ones
    Run(Box<run::Args>),
    /// Make the runners of the rotation stop
    #[command(after_help = PAUSE_EXAMPLES)]
    Pause(pause::Args),
    /// Give the rotation up: what was done stays done
    #[command(after_help = ABANDON_EXAMPLES)]
    Abandon(abandon::Args),
    /// Prove that no row is left under the old keys, by counting and by opening a sample
    Verify(Box<verify::Args>),
    /// Take keys out of use for good that no row names
    Retire(retire::Args),
    /// Take rows that do not open out of the events, so that their keys can be retired
    SetAside(set_aside::Args),
}

pub(super) async fn run(command: Command, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    match command {
        Command::Plan(args) => plan::run(args, format).await,
        Command::Run(args) => run::run(*args, format).await,
        Command::Pause(args) => pause::run(RotationKind::DataKey, Purpose::Data, args, format).await,
        Command::Abandon(args) => abandon::run(RotationKind::DataKey, Purpose::Data, args, format).await,
        Command::Verify(args) => verify::run(*args, format).await,
        Command::Retire(args) => retire::run(args, format).await,
        Command::SetAside(args) => set_aside::run(args, format).await,
    }
}
