//! What `finish` and `rollback` have in common: the slot that is out of use is emptied.

use std::fmt;
use std::time::Instant;

use serde::Serialize;
use uuid::Uuid;

use crate::cli::exit::ExitStatus;
use crate::cli::key_rotation::run::{PaceArgs, refused_or, showing};
use crate::cli::output::{self, OutputFormat};
use crate::cli::progress;
use crate::cli::signals::stop_on_signal;
use crate::db::{Role, Server};
use crate::domain::RotationStep;
use crate::key_rotation::token_key::Emptier;
use crate::key_rotation::{self, Ending};

/// No KMS is in it.
pub(super) const PATIENCE: &str =
    "How long others may be in the way of each step, or PostgreSQL away, before it gives up";

/// Empties the slot, with a bar, and says how it ended. `became` is what the rotation is then.
pub(super) async fn empty(
    server: &Server,
    job: Uuid,
    pace: &PaceArgs,
    became: &'static str,
    format: OutputFormat,
) -> anyhow::Result<ExitStatus> {
    let pool = server.pool(Role::Owner, pace.connections()).await?;
    let (stop, began) = (stop_on_signal()?, Instant::now());
    let line = progress::count(0, "rows");
    let show = showing(line, |counts| counts.changed);
    let ended = key_rotation::run(&pool, job, Emptier, pace.options(), &stop, show).await;
    line.finish_and_clear();
    let (ending, counts) = match ended {
        Ok(ended) => ended,
        Err(error) => {
            return refused_or(
                error,
                "the slot is not empty yet; what is done stays done, run it again to go on",
                format,
            );
        }
    };
    let ended = match ending {
        Ending::Reached(RotationStep::Done) => became,
        Ending::Reached(_) | Ending::Paused => "paused",
        Ending::Stopped => "stopped",
    };
    let summary = Summary { job, ended, emptied: counts.changed, seconds: began.elapsed().as_secs_f64() };
    output::result(format, &summary, &summary)?;
    Ok(ExitStatus::Done)
}

#[derive(Serialize)]
struct Summary {
    job: Uuid,
    ended: &'static str,
    emptied: u64,
    seconds: f64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<18}{} rows emptied, {:.1} s", self.ended, self.emptied, self.seconds)?;
        writeln!(f, "job               {}", self.job)?;
        match self.ended {
            "paused" | "stopped" => writeln!(f, "next              run the same command again to go on"),
            _ => writeln!(f, "next              pii-vault key-rotation token-key retire"),
        }
    }
}
