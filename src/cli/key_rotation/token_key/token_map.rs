use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;

use super::run::current;
use crate::cli::config::{DatabaseArgs, duration, reason};
use crate::cli::destination::Destination;
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::cli::refusal::Refused;
use crate::db::Role;
use crate::db::rotation::token_key::TokenRefusal;
use crate::db::rotation::token_key::token_map::TokenPair;
use crate::domain::{AccessRefusal, Field};
use crate::key_rotation::RotationError;
use crate::key_rotation::token_key::TokenMap;
use crate::patience::Patience;

const EXAMPLES: &str = "\
For who stored tokens elsewhere: each old token with the new one of the same value, once, of a
rotation whose `run` has filled all rows, until `finish`. Columns: field (ip or device_id),
old_token, new_token. Pairs that only rows have which `run` listed as tampered with are left out.

Tokens are personal data, and this joins what a rotation is to separate: keep it as short as you
can. Before a pair goes out, a committed entry of the audit log says who takes how many, and why.

The login needs the role pii_vault_reseal. No key is unwrapped.

Exit status 1: also where whoever reads the pairs went away. 3: refused: no rotation has filled its
rows, no checkpoint covers the record, or an hour has passed since it: what went out until then is
not the whole of it.

Examples:
  pii-vault key-rotation token-key token-map --reason 'warehouse, ticket 4711' --out map.csv
  pii-vault key-rotation token-key token-map --reason 'warehouse, ticket 4711' --format json | load";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// Why, for the record: at most 1000 characters
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
    /// How pairs are written: json is an object a line
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: MapFormat,
    /// Write them to a new file that only you can read
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How long PostgreSQL may be away, or a checkpoint wanting, before it gives up
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    patience: Duration,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum MapFormat {
    #[default]
    Csv,
    Json,
}

pub(in crate::cli) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let server = args.database.server()?;
    let mut destination = Destination::open(args.out)?;
    let mut out = destination.writer()?;
    let result = async {
        let pool = server.pool(Role::Reseal, 1).await?;
        let recorded = match current(&pool).await? {
            Some(job) => TokenMap::record(&pool, job.id, &args.reason, Patience(args.patience)).await?,
            None => Err(TokenRefusal::NotFilled),
        };
        let map = match recorded {
            Ok(map) => map,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut writer = Writer { out: &mut out, format: args.format };
        writer.begin()?;
        let exported = map.export(|field, pairs| writer.page(field, pairs)).await.map_err(|error| match error {
            // So that a reader who went away is known as such.
            RotationError::Write(error) => error.into(),
            error => anyhow::Error::new(error),
        })?;
        anyhow::Ok(Ok((map.seq(), exported)))
    }
    .await;
    let closed = destination.close(matches!(result, Ok(Ok(_))));
    if result.as_ref().is_err_and(output::is_broken_pipe) {
        return Ok(ExitStatus::Failed);
    }
    let (seq, exported) = match result {
        Ok(Ok(done)) => done,
        Ok(Err(refusal)) => return Refused::from(refusal).tell(format),
        Err(error) => {
            // Standard output may have pairs already.
            let format = if destination.is_standard() { OutputFormat::Human } else { format };
            return match error.downcast_ref().and_then(RotationError::refusal) {
                Some(AccessRefusal::Stale) => Refused::new(
                    "stale",
                    "pairs go out for an hour after the record, and that is over",
                    "run it again, which is recorded as another export; where its reader is slow, write to --out first",
                )
                .tell(format),
                Some(why) => Refused::from(why).tell(format),
                None => Err(error).context("the export is not whole"),
            };
        }
    };
    closed?;
    let shown = Shown { audit_seq: seq, ips: exported.ips, device_ids: exported.device_ids };
    if destination.is_standard() {
        output::beside_data(format, &shown, &shown);
    } else {
        output::result(format, &shown, &shown)?;
    }
    Ok(ExitStatus::Done)
}

struct Writer<'a> {
    out: &'a mut Box<dyn Write + Send>,
    format: MapFormat,
}

#[derive(Serialize)]
struct Line<'a> {
    field: &'static str,
    old_token: &'a str,
    new_token: &'a str,
}

impl Writer<'_> {
    fn begin(&mut self) -> io::Result<()> {
        match self.format {
            MapFormat::Csv => self.out.write_all(b"field,old_token,new_token\n"),
            MapFormat::Json => Ok(()),
        }
    }

    /// In one piece. A token has nothing that CSV quotes.
    fn page(&mut self, field: Field, pairs: &[TokenPair]) -> io::Result<()> {
        let mut page = Vec::with_capacity(pairs.len() * 160);
        for TokenPair { old_token, new_token } in pairs {
            match self.format {
                MapFormat::Csv => writeln!(page, "{},{old_token},{new_token}", field.name())?,
                MapFormat::Json => {
                    serde_json::to_writer(&mut page, &Line { field: field.name(), old_token, new_token })?;
                    page.push(b'\n');
                }
            }
        }
        self.out.write_all(&page)
    }
}

#[derive(Serialize)]
struct Shown {
    audit_seq: i64,
    ips: u64,
    device_ids: u64,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ips               {} pairs", self.ips)?;
        writeln!(f, "device ids        {} pairs", self.device_ids)?;
        writeln!(f, "recorded as       row {} of the audit log", self.audit_seq)
    }
}
