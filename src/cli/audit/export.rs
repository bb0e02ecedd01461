use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;

use super::list::time;
use crate::audit::{self, ExportError, Exported, Stretch};
use crate::cli::config::DatabaseArgs;
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::cli::progress;
use crate::db::Connection;
use crate::db::Role;
use crate::domain::audit::UnixMicros;

const EXAMPLES: &str = "\
A header, then a line for each entry and for each checkpoint, as they are at one moment: all that
`pii-vault audit verify --export` needs of the log, beside copies of checkpoints and the public key
from elsewhere. keys/FORMAT.md describes each member, and how they map to OCSF for a SIEM. No value
that was opened is in it, but tokens, user ids and reasons are. The login needs the role
pii_vault_auditor.

With --since or --until it is the part from the first to the last entry of that time. Of a part that
does not begin with the log, nobody can tell whether what it allowed was right.

Examples:
  pii-vault audit export --out log.jsonl
  pii-vault audit export --since 2026-11-01 --until 2026-12-01 --out november.jsonl
  pii-vault audit export | gzip > log.jsonl.gz";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// How it is written: JSON, a line each
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    /// Not before this time (UTC): 2026-11-22, or 2026-11-22T08:30:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<UnixMicros>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<UnixMicros>,
    /// Write to a new file, which only you may read; a summary then goes to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Jsonl,
}

pub(super) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let Format::Jsonl = args.format;
    let stretch = Stretch { since: args.since, until: args.until };
    let mut conn = args.database.server()?.connect(Role::Auditor).await?;
    let Some(path) = args.out else {
        let (out, _) = output::data()?;
        let done = written(&mut conn, stretch, out).await?;
        output::beside_data(format, &Shown(done), &done);
        return Ok(ExitStatus::Done);
    };
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let file = file.with_context(|| format!("making {}; what is there already is not overwritten", path.display()))?;
    let result = match written(&mut conn, stretch, Box::new(file.try_clone()?)).await {
        Ok(done) => on_disk(&path, &file).map(|()| done),
        Err(error) => Err(error),
    };
    if result.is_err() {
        // A part of an export is none; why it is one is what there is to say.
        let _ = fs::remove_file(&path);
    }
    let done = result?;
    output::result(format, &Shown(done), &done)?;
    Ok(ExitStatus::Done)
}

async fn written(conn: &mut Connection, stretch: Stretch, out: Box<dyn Write + Send>) -> anyhow::Result<Exported> {
    let bar = progress::count(0, "entries");
    let tell = |seq: i64, last: i64| {
        bar.set_length(last.unsigned_abs());
        bar.set_position(seq.unsigned_abs());
    };
    let result = audit::export(conn, stretch, &mut BufWriter::new(out), tell).await;
    bar.finish_and_clear();
    result.map_err(|error| match error {
        ExportError::Db(error) => error.into(),
        ExportError::Io(error) => error.into(),
    })
}

fn on_disk(path: &Path, file: &File) -> anyhow::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = || File::open(parent).and_then(|folder| folder.sync_all());
    file.sync_all().and_then(|()| folder()).with_context(|| format!("{} may not be on disk yet", path.display()))
}

#[derive(Serialize)]
#[serde(transparent)]
struct Shown(Exported);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Exported { first_seq, last_seq, entries, checkpoints } = self.0;
        match entries {
            0 => writeln!(f, "no entries, and {checkpoints} checkpoints"),
            _ => writeln!(f, "entries {first_seq} to {last_seq}, and {checkpoints} checkpoints"),
        }
    }
}
