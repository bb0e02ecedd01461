mod html;
mod markdown;
#[cfg(test)]
mod sample;
mod words;

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;
use clap::builder::NonEmptyStringValueParser;
use serde::Serialize;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::audit::{self, Account, Counts, Scope};
use crate::cli::config::{DatabaseArgs, checkpoint_key};
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::cli::progress;
use crate::db::Role;
use crate::domain::Month;
use crate::domain::audit::UnixMicros;

const EXAMPLES: &str = "\
What an auditor asks for: who asked for, approved, read, was refused, looked up or took back what,
and why, with a timeline and counts by officer, case and day; changes of policy; and whether the log
that says so can be believed: all of it is verified first, as by `pii-vault audit verify`, with the
checkpoints that the database has. It shows no original, no token and no selected user.

The HTML is one page that loads nothing from anywhere, for the screen and for paper. A new file can
be read by you alone; one that is there is not overwritten.

The login needs the role pii_vault_auditor.

Exit status 4: something in the log was changed; the report is written all the same, and says so.

Examples:
  pii-vault audit report --case CASE-7
  pii-vault audit report --month 2026-11 --format html --out november.html";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    scope: ScopeArgs,
    /// How it is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: PageFormat,
    /// Write it to a new file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The public key (PEM) that verifies the signatures of checkpoints
    #[arg(long, value_name = "FILE", env = "PII_VAULT_CHECKPOINT_PUBLIC_KEY", hide_env_values = true)]
    public_key: Option<PathBuf>,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
struct ScopeArgs {
    /// All of this case
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    case: Option<String>,
    /// All that was recorded in this month, of UTC days
    #[arg(long, value_name = "YYYY-MM", value_parser = month)]
    month: Option<Month>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum PageFormat {
    #[default]
    Markdown,
    Html,
}

pub(in crate::cli) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let scope = match args.scope {
        ScopeArgs { case: Some(case), .. } => Scope::Case(case),
        ScopeArgs { month: Some(month), .. } => Scope::Month(month),
        ScopeArgs { case: None, month: None } => return crate::cli::config::usage("give --case or --month"),
    };
    let key = args.public_key.as_deref().map(checkpoint_key).transpose()?;
    let mut conn = args.database.server()?.connect(Role::Auditor).await?;
    let bar = progress::count(0, "entries");
    let account = audit::account(&mut conn, scope, key.as_ref(), |done, of| {
        bar.set_length(of.max(done).unsigned_abs());
        bar.set_position(done.unsigned_abs());
    })
    .await;
    bar.finish_and_clear();
    let account = account?;
    let now = UnixMicros(UnixMicros::from(OffsetDateTime::now_utc()).0 / 1_000_000 * 1_000_000);
    let made = format!("Made {now} by pii-vault {}.", env!("CARGO_PKG_VERSION"));
    let page = match args.format {
        PageFormat::Markdown => markdown::page(&account, &made),
        PageFormat::Html => html::page(&account, &made),
    };
    let shown = Shown::of(&account, &args.out);
    match &args.out {
        Some(path) => {
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            let written = made.and_then(|mut file| file.write_all(page.as_bytes()).and_then(|()| file.sync_all()));
            written.with_context(|| format!("writing {} (a file that is there is not overwritten)", path.display()))?;
            output::result(format, &shown, &shown)?;
        }
        None => {
            output::lines(&page)?;
            output::beside_data(format, &shown, &shown);
        }
    }
    Ok(if shown.verified { ExitStatus::Done } else { ExitStatus::IntegrityBroken })
}

/// What is said beside the report.
#[derive(Serialize)]
struct Shown {
    vault: String,
    case: Option<String>,
    month: Option<String>,
    file: Option<PathBuf>,
    verified: bool,
    events: u64,
    #[serde(flatten)]
    counts: Counts,
}

impl Shown {
    fn of(account: &Account, file: &Option<PathBuf>) -> Self {
        let (case, month) = match &account.scope {
            Scope::Case(case) => (Some(case.clone()), None),
            Scope::Month(month) => (None, Some(month.to_string())),
        };
        let told = u64::try_from(account.timeline.len()).unwrap_or(u64::MAX);
        let events = told.saturating_add(account.untold);
        let (verified, _) = words::verdict(account);
        Self {
            vault: account.vault.to_string(),
            case,
            month,
            file: file.clone(),
            verified,
            events,
            counts: account.total,
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.counts;
        write!(
            f,
            "{} events: {} reads of {} values, {} refusals",
            self.events, counts.reads, counts.values_opened, counts.refusals
        )?;
        match self.verified {
            true => writeln!(f, "; the log is verified"),
            false => writeln!(f, "; THE LOG IS NOT VERIFIED, see the report"),
        }
    }
}

fn month(text: &str) -> Result<Month, &'static str> {
    let day = format_description!("[year]-[month]-[day]");
    let first = Date::parse(&format!("{text}-01"), &day).ok().filter(|day| (1970..=9998).contains(&day.year()));
    first.map(Month::of).ok_or("a month is YYYY-MM, like 2026-11")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_a_year_and_a_month() {
        assert_eq!(month("2026-11").unwrap().to_string(), "2026-11");
        for wrong in ["2026", "2026-13", "2026-11-02", "11-2026", "", "0001-01", "2026-11-"] {
            assert!(month(wrong).is_err(), "{wrong}");
        }
    }
}
