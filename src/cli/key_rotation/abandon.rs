//! `abandon` of wrapped keys and of data keys.

use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use crate::cli::config::{DatabaseArgs, reason};
use crate::cli::exit::ExitStatus;
use crate::cli::key_rotation::{none_under_way, role};
use crate::cli::output::{self, OutputFormat};
use crate::db::rotation;
use crate::domain::{Purpose, RotationKind};

#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Args {
    /// Why, for the record: at most 1000 characters
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Ends the rotation as it stands, and all its runners with it.
pub(super) async fn run(
    kind: RotationKind,
    purpose: Purpose,
    args: Args,
    format: OutputFormat,
) -> anyhow::Result<ExitStatus> {
    let mut conn = args.database.server()?.connect(role(kind)).await?;
    let mut abandoned = Abandoned { job: None, changed: 0, total: 0, kind, purpose };
    if let Some(job) = rotation::unfinished(&mut conn, kind, purpose).await?
        && rotation::abandon(&mut conn, job.id, &args.reason).await?
    {
        let counts = rotation::counts(&mut conn, job.id).await?;
        abandoned = Abandoned { job: Some(job.id), changed: counts.changed, total: counts.total, ..abandoned };
    }
    output::result(format, &abandoned, &abandoned)?;
    Ok(ExitStatus::Done)
}

#[derive(Serialize)]
struct Abandoned {
    job: Option<Uuid>,
    changed: u64,
    total: u64,
    #[serde(skip)]
    kind: RotationKind,
    #[serde(skip)]
    purpose: Purpose,
}

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { changed, total, kind, purpose, .. } = self;
        let Some(job) = self.job else {
            return none_under_way(f, *kind, *purpose);
        };
        let things = if *kind == RotationKind::Kek { "keys" } else { "rows" };
        writeln!(f, "abandoned         {job}")?;
        writeln!(f, "                  {changed} of {total} {things} were changed, and stay so")
    }
}
