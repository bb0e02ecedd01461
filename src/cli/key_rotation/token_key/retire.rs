use std::fmt;
use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use super::refusal::not_done;
use crate::cli::config::{DatabaseArgs, duration, reason};
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::db::rotation::token_key::Retirement;
use crate::domain::KeyId;
use crate::key_rotation::token_key;

const EXAMPLES: &str = "\
A retired key is used for nothing, whatever comes; its wrapped form stays, as a record. Refused
while any row has tokens of it: `finish`, or `rollback`, empties those. All rows are looked at.

The login needs to be a member of pii_vault_owner, as the one that ran `pii-vault init` is.

Exit status 3: a key was not retired.

Examples:
  pii-vault key-rotation token-key retire --reason 'rotated 2026-11'
  pii-vault key-rotation token-key retire --key d57dc55b-7b83-4291-9c1c-6978ad80b679 --reason leak";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// This key; can be repeated. Without it, each key that makes no tokens any more
    #[arg(long, value_name = "UUID")]
    key: Vec<Uuid>,
    /// Why, for the record: at most 1000 characters
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
    /// How long others may be in the way
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    patience: Duration,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(in crate::cli) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let keys: Vec<_> = args.key.into_iter().map(KeyId).collect();
    let retired = match token_key::retire(&args.database.server()?, &keys, &args.reason, args.patience).await {
        Ok(retired) => retired,
        Err(error) => return not_done(error, format),
    };
    let done = |became: Retirement| matches!(became, Retirement::Retired | Retirement::RetiredBefore);
    let status = if retired.iter().all(|(_, became)| done(*became)) { ExitStatus::Done } else { ExitStatus::Refused };
    let shown =
        Shown { keys: retired.into_iter().map(|(key, became)| Key { key: key.0, became: became.name() }).collect() };
    output::result(format, &shown, &shown)?;
    Ok(status)
}

#[derive(Serialize)]
struct Shown {
    keys: Vec<Key>,
}

#[derive(Serialize)]
struct Key {
    key: Uuid,
    became: &'static str,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.keys.is_empty() {
            writeln!(f, "no token key is to be retired: none is out of use")?;
        }
        for Key { key, became } in &self.keys {
            let told = match *became {
                "retired" => "retired",
                "retired_before" => "retired before",
                "rows_left" => "refused: rows have tokens of it; next: finish or rollback empties them",
                "in_use" => "refused: it makes tokens; next: rotate it, and finish",
                _ => "refused: no token key has this id; next: pii-vault key-rotation status --keys lists them",
            };
            writeln!(f, "{key}  {told}")?;
        }
        Ok(())
    }
}
