mod each;
mod keys;
mod one;
mod shown;

use std::fmt;

use anyhow::bail;
use serde::Serialize;
use time::Date;
use time::macros::format_description;
use uuid::Uuid;

use crate::cli::config::DatabaseArgs;
use crate::cli::exit::ExitStatus;
use crate::cli::key_rotation::kek::purpose;
use crate::cli::output::{self, OutputFormat};
use crate::db::rotation::{self, Job, Position};
use crate::db::{Connection, DbError, Role};
use crate::domain::Purpose;
use each::Each;
use keys::Keys;
use one::One;
use shown::Shown;

pub(in crate::cli::key_rotation) use shown::within;

const EXAMPLES: &str = "\
Keys by purpose, state and KMS key: how many, how old, and how many rows and values are under them.
Rows are counted, not estimated: all events and dead letters are read once, about a second for each
million on a small server; --no-rows leaves that out. Rows set aside did not open, and are among the
events no more: `data-key set-aside` took them out. Then the rotations that are not done, and the
last ones that are. A runner counts for a minute after it was last seen, at work or waiting; one that
is killed pauses nothing. The rate is the average of the time in which a rotation was not paused, and
what is left at that rate.

With --keys each key is a line, with the id that --key of the other commands takes: by purpose, and
the newest first. `missing` ones, which rows name and which are not there, come before them.

pending       made for a rotation: used beside the active key, not shown to analysts yet
active        in use
decrypt-only  opens what is stored, and protects nothing new
retired       used for nothing

The login needs one of the roles pii_vault_reseal, pii_vault_rewrap and pii_vault_auditor, or is an
administrator's. It shows no key and no value.

Examples:
  pii-vault key-rotation status
  pii-vault key-rotation status --output json | jq '.rotations[] | {kind, percent, eta_seconds}'
  pii-vault key-rotation status --keys --purpose data
  pii-vault key-rotation status --keys --output json | jq -r '.keys[] | select(.rows == 0) | .id'
  pii-vault key-rotation status --job ID                  what it passed over, and why
  pii-vault key-rotation status --job ID --limit 1000 --after 2026-01-01/EVENT";

/// Rotations that are done and listed all the same.
const LAST: usize = 5;

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
#[command(group(clap::ArgGroup::new("list").args(["job", "keys"])))]
pub(in crate::cli) struct Args {
    /// One rotation alone, with its history and what it passed over
    #[arg(long, value_name = "ID")]
    job: Option<Uuid>,
    /// Each key with its id, state, age and KMS key, and the rows under it
    #[arg(long)]
    keys: bool,
    /// Of these keys alone: data, token or dead-letter
    #[arg(long, value_name = "PURPOSE", requires = "keys", value_parser = purpose)]
    purpose: Option<Purpose>,
    /// List so many keys, or so much of what it passed over
    #[arg(long, value_name = "N", default_value_t = 100, requires = "list", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// List what comes after this one: `next_after` of the page before
    #[arg(long, value_name = "DAY/ID", requires = "job", value_parser = position)]
    after: Option<Position>,
    /// Do not count rows
    #[arg(long, conflicts_with = "job")]
    no_rows: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(super) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let roles = [Role::Reseal, Role::Rewrap, Role::Auditor, Role::Owner];
    let mut conn = args.database.server()?.connect_as_first(&roles).await?;
    if let Some(id) = args.job {
        let jobs = rotation::all(&mut conn).await?;
        let Some(job) = jobs.into_iter().find(|job| job.id == id) else {
            bail!("there is no rotation {id}; `pii-vault key-rotation status` lists them");
        };
        let one = One::read(&mut conn, job, args.after, args.limit).await?;
        output::result(format, &one, &one)?;
        return Ok(ExitStatus::Done);
    }
    if args.keys {
        let each = Each::read(&mut conn, !args.no_rows, args.purpose, args.limit).await?;
        output::result(format, &each, &each)?;
        return Ok(ExitStatus::Done);
    }
    let jobs = rotation::all(&mut conn).await?;
    let keys = Keys::of(rotation::keys(&mut conn, !args.no_rows).await?, !args.no_rows);
    let (done, unfinished): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.ended_at.is_some());
    let status = Status {
        keys,
        rotations: shown(&mut conn, unfinished).await?,
        done: shown(&mut conn, done.into_iter().take(LAST).collect()).await?,
    };
    output::result(format, &status, &status)?;
    Ok(ExitStatus::Done)
}

async fn shown(conn: &mut Connection, jobs: Vec<Job>) -> Result<Vec<Shown>, DbError> {
    let mut shown = Vec::new();
    for job in jobs {
        let history = rotation::history(conn, job.id).await?;
        shown.push(Shown::of(job, &history));
    }
    Ok(shown)
}

#[derive(Serialize)]
struct Status {
    keys: Keys,
    rotations: Vec<Shown>,
    done: Vec<Shown>,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.keys)?;
        if self.rotations.is_empty() {
            writeln!(f, "no rotation is under way")?;
        }
        for rotation in &self.rotations {
            writeln!(f, "{rotation}")?;
        }
        for rotation in &self.done {
            writeln!(f, "{}", rotation.line())?;
        }
        Ok(())
    }
}

/// `2026-01-31/` and an id.
fn position(text: &str) -> Result<Position, &'static str> {
    let day = format_description!("[year]-[month]-[day]");
    let parsed = text.split_once('/').and_then(|(date, id)| Some((Date::parse(date, &day).ok()?, id.parse().ok()?)));
    parsed.ok_or("it is a day and an id, like 2026-01-31/0195a1b2-0000-4000-8000-000000000001")
}
