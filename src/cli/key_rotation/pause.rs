//! `pause` of each kind.

use std::fmt;

use anyhow::Context as _;
use serde::Serialize;
use uuid::Uuid;

use crate::cli::config::{DatabaseArgs, reason};
use crate::cli::exit::ExitStatus;
use crate::cli::key_rotation::{none_under_way, role};
use crate::cli::output::{self, OutputFormat};
use crate::db::rotation::{self, Job};
use crate::db::{ConnectError, Connection, Role, Server};
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
    let (mut conn, refused) = connect(&server, kind, role(kind)).await?;
    let job = rotation::unfinished(&mut conn, kind, purpose).await?;
    match (&job, refused) {
        (Some(Job { id, step: RotationStep::Work, .. }), None) => rotation::pause(&mut conn, *id, &args.reason).await?,
        // Only who fills rows may make others stop that do.
        (Some(Job { step: RotationStep::Work, .. }), Some(refused)) => return Err(refused.into()),
        (Some(Job { id, step: RotationStep::Emptying, .. }), refused) => {
            if refused.is_none() {
                conn = server.connect(Role::Owner).await.context("a slot is being emptied")?;
            }
            rotation::pause(&mut conn, *id, &args.reason).await?;
        }
        _ => {}
    }
    let paused = Paused {
        job: job.as_ref().map(|job| job.id),
        paused: job.as_ref().is_some_and(|job| job.step.is_work()),
        runners: job.as_ref().map_or(0, |job| job.runners),
        step: job.map(|job| job.step),
        kind,
        purpose,
    };
    output::result(format, &paused, &paused)?;
    Ok(ExitStatus::Done)
}

/// A token key's rotation ends in the hands of an administrator, who may not have the role of the service: then also
/// why that was refused.
async fn connect(
    server: &Server,
    kind: RotationKind,
    role: Role,
) -> Result<(Connection, Option<ConnectError>), ConnectError> {
    match server.connect(role).await {
        Ok(conn) => Ok((conn, None)),
        Err(refused) if kind == RotationKind::TokenKey => match server.connect(Role::Owner).await {
            Ok(conn) => Ok((conn, Some(refused))),
            Err(_) => Err(refused),
        },
        Err(refused) => Err(refused),
    }
}

#[derive(Serialize)]
struct Paused {
    job: Option<Uuid>,
    /// `false`: nothing was at work.
    paused: bool,
    runners: i64,
    #[serde(skip)]
    step: Option<RotationStep>,
    #[serde(skip)]
    kind: RotationKind,
    #[serde(skip)]
    purpose: Purpose,
}

impl fmt::Display for Paused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(job) = self.job else {
            return none_under_way(f, self.kind, self.purpose);
        };
        if !self.paused {
            let next = match self.step {
                Some(RotationStep::Filled) => "all rows are filled; cut-over or rollback is next",
                _ => "it is cut over; finish or rollback is next",
            };
            return writeln!(f, "nothing to pause  {job}: {next}");
        }
        writeln!(f, "paused            {job}")?;
        match self.runners {
            0 => Ok(()),
            1 => writeln!(f, "                  its runner stops before its next page"),
            many => writeln!(f, "                  its {many} runners stop before their next page"),
        }
    }
}
