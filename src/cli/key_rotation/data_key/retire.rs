use std::fmt;

use anyhow::Context as _;
use serde::Serialize;
use uuid::Uuid;

use super::keys::{Shown, table};
use crate::cli::config::{DatabaseArgs, reason};
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::cli::refusal::{Refused, RefusedKey};
use crate::db::Role;
use crate::db::rotation::data_key::{KeyRows, retire};
use crate::domain::KeyState;

const EXAMPLES: &str = "\
A retired key opens nothing any more, and nothing takes that back. It stays in its table, wrapped:
to destroy it, delete that row and every backup of it, or the KMS key that wraps it.

Where a row of the events names one of the keys, or one is still in use, none is retired. Rows that
were set aside do not hold a key back: after this they do not open by any means of pii-vault.

The login needs the role pii_vault_reseal.

Exit status 3: a named key is in use, rows name it, or there is none of this id; none was retired.

Examples:
  pii-vault key-rotation data-key retire --reason 'quarterly'      all that were left and are empty
  pii-vault key-rotation data-key retire --key 6f3d4c1e-8f4b-4c1e-9a57-0d8f1d2f8c11 --reason 'leak'";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// This key; can be repeated. Without it, each decrypt-only key that no row names
    #[arg(long, value_name = "UUID")]
    key: Vec<Uuid>,
    /// Why, for the record: at most 1000 characters
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(super) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let mut conn = args.database.server()?.connect(Role::Reseal).await?;
    let named = (!args.key.is_empty()).then_some(args.key.as_slice());
    let keys = retire(&mut conn, named, &args.reason).await.context("no key was retired")?;
    let all = keys.iter().all(|key| key.state == Some(KeyState::Retired));
    if !all {
        return refused(&keys).tell(format);
    }
    let report = Report { keys: keys.iter().map(Shown::from).collect() };
    output::result(format, &report, &report)?;
    Ok(ExitStatus::Done)
}

/// By what stands in the way of most.
fn refused(keys: &[KeyRows]) -> Refused {
    let (word, because, next) = if keys.iter().any(|key| key.state.is_none()) {
        (
            "unknown_key",
            "there is no data key of one of these ids; none was retired",
            "pii-vault key-rotation status --keys --purpose data lists them",
        )
    } else if keys.iter().any(|key| key.state == Some(KeyState::Active)) {
        ("in_use", "a key seals new values; none was retired", "pii-vault key-rotation data-key run --key …")
    } else {
        (
            "rows_left",
            "rows name a key; none was retired",
            "pii-vault key-rotation data-key run --key …; for rows that do not open, data-key set-aside",
        )
    };
    let keys = keys.iter().map(Shown::from);
    Refused::new(word, because, next)
        .with_keys(keys.map(|Shown { id, state, rows, set_aside }| RefusedKey { id, state, rows, set_aside }).collect())
}

#[derive(Serialize)]
struct Report {
    keys: Vec<Shown>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.keys.is_empty() {
            return writeln!(f, "nothing to do: no decrypt-only key is without rows");
        }
        write!(f, "{}", table(&self.keys))?;
        writeln!(f, "retired           {}", self.keys.len())
    }
}
