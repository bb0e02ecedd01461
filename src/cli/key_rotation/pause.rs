//! `pause` of each kind.

use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use crate::cli::config::{DatabaseArgs, reason};
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::db::{Connection, Role, Server, rotation};
use crate::domain::{Purpose, RotationKind, RotationStep};

#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Args {
    /// Why, for the record: at most 1000 characters
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Makes all runners of the rotation stop before their next page.
pub(super) async fn run(
    kind: RotationKind,
    purpose: Purpose,
    args: Args,
    format: OutputFormat,
) -> anyhow::Result<ExitStatus> {
    let server = args.database.server()?;
    let role = if kind == RotationKind::Kek { Role::Rewrap } else { Role::Reseal };
    let mut conn = connect(&server, kind, role).await?;
    let job = rotation::unfinished(&mut conn, kind, purpose).await?;
    if let Some(job) = &job {
        if job.step == RotationStep::Emptying {
            conn = server.connect(Role::Owner).await?;
        }
        rotation::pause(&mut conn, job.id, &args.reason).await?;
    }
    let paused =
        Paused { job: job.as_ref().map(|job| job.id), runners: job.map_or(0, |job| job.runners), kind, purpose };
    output::result(format, &paused, &paused)?;
    Ok(ExitStatus::Done)
}

/// A token key's rotation ends in the hands of an administrator, who may not have the role of the service.
async fn connect(server: &Server, kind: RotationKind, role: Role) -> anyhow::Result<Connection> {
    match server.connect(role).await {
        Err(_) if kind == RotationKind::TokenKey => Ok(server.connect(Role::Owner).await?),
        connected => Ok(connected?),
    }
}

#[derive(Serialize)]
struct Paused {
    job: Option<Uuid>,
    runners: i64,
    #[serde(skip)]
    kind: RotationKind,
    #[serde(skip)]
    purpose: Purpose,
}

impl fmt::Display for Paused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, purpose) = (self.kind.name(), self.purpose.name());
        let Some(job) = self.job else {
            return writeln!(f, "no {kind} rotation of {purpose} keys is under way");
        };
        writeln!(f, "paused            {job}")?;
        match self.runners {
            0 => Ok(()),
            1 => writeln!(f, "                  its runner stops before its next page"),
            many => writeln!(f, "                  its {many} runners stop before their next page"),
        }
    }
}
