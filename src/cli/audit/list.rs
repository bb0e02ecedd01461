use std::fmt;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use super::entry::Shown;
use crate::audit::what;
use crate::cli::config::DatabaseArgs;
use crate::cli::escaped::Escaped;
use crate::cli::exit::ExitStatus;
use crate::cli::output::{OutputFormat, Stream};
use crate::db::Role;
use crate::db::audit_log::{Filter, before_last, page, stand_still};
use crate::domain::audit::{Action, Details, Entry, UnixMicros};

const EXAMPLES: &str = "\
The login needs the role pii_vault_auditor. What is given must all be true; of a flag that is
repeated, one. Times are UTC: 2026-11-22, or 2026-11-22T08:30:00Z (RFC 3339).

With --output json: one array, an entry a line, written as it is read; what was cut off does not
parse. `details` is as it was recorded; keys/FORMAT.md says what it has.

Examples:
  pii-vault audit list
  pii-vault audit list --action unmask --action unmask_page --actor jane --since 2026-11-01
  pii-vault audit list --case CASE-7 --all --output json | jq '.[] | {seq, actor, reason}'";

/// Entries in memory at a time.
const PAGE: u16 = 500;

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// Only of this login; can be repeated
    #[arg(long, value_name = "LOGIN")]
    actor: Vec<String>,
    /// Only of this case; can be repeated
    #[arg(long, value_name = "ID")]
    case: Vec<String>,
    /// Only this action, e.g. unmask; can be repeated
    #[arg(long, value_name = "ACTION", value_parser = action)]
    action: Vec<Action>,
    /// Not before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<UnixMicros>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<UnixMicros>,
    /// The most to list: the latest
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// List all
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(super) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let filter =
        Filter { actors: args.actor, cases: args.case, actions: args.action, since: args.since, until: args.until };
    let mut conn = args.database.server()?.connect(Role::Auditor).await?;
    stand_still(&mut conn).await?;
    let mut after = match args.all {
        true => 0,
        false => before_last(&mut conn, &filter, args.limit.into()).await?,
    };
    let mut out = Stream::start(format);
    loop {
        let entries = page(&mut conn, &filter, after, PAGE).await?;
        let Some(last) = entries.last() else { break };
        after = last.seq;
        for entry in &entries {
            out.write(&title(), &Line(entry), &Shown::from(entry))?;
        }
    }
    if out.written() == 0 && format == OutputFormat::Human {
        out.write("no entries", &"", &())?;
    }
    out.end()?;
    Ok(ExitStatus::Done)
}

fn title() -> String {
    format!("{:>8}  {:<27}  {:<17}  {:<20}  {:<20}  {:<16}  REASON", "SEQ", "AT", "ACTION", "ACTOR", "DECISION", "CASE")
}

struct Line<'a>(&'a Entry);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.0;
        let decision = match (&entry.refusal, entry.decision) {
            (Some(refusal), _) => format!("no: {refusal}"),
            (None, Some(decision)) => decision.name().to_owned(),
            (None, None) => "-".to_owned(),
        };
        let shown = |text: Option<&str>| Escaped(text.unwrap_or("-")).to_string();
        write!(
            f,
            "{:>8}  {:<27}  {:<17}  {:<20}  {:<20}  {:<16}  {}",
            entry.seq,
            entry.at,
            shown(Some(entry.action.name())),
            shown(Some(&entry.origin.actor)),
            Escaped(&decision).to_string(),
            shown(entry.case_id.as_deref()),
            told(entry),
        )
    }
}

/// The reason; of a rotation of keys, what it came to before that.
fn told(entry: &Entry) -> String {
    let reason = entry.reason.as_deref();
    let said = match Details::of(entry) {
        Ok(details @ Details::Rotation(_)) => Some(what(&details)),
        _ => None,
    };
    let parts: Vec<_> = said.as_deref().into_iter().chain(reason).collect();
    match parts.is_empty() {
        true => "-".to_owned(),
        false => Escaped(&parts.join("; ")).to_string(),
    }
}

fn action(word: &str) -> Result<Action, String> {
    match Action::of_name(word.to_owned()) {
        Action::Other(_) => {
            let known: Vec<_> = Action::KNOWN.iter().map(|action| action.name().to_owned()).collect();
            Err(format!("the actions are {}", known.join(", ")))
        }
        known => Ok(known),
    }
}

pub(super) fn time(text: &str) -> Result<UnixMicros, &'static str> {
    let day = format_description!("[year]-[month]-[day]");
    OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| ::time::Date::parse(text, &day).map(|date| date.midnight().assume_utc()))
        .map(UnixMicros::from)
        .map_err(|_| "a time is like 2026-11-22 or 2026-11-22T08:30:00Z")
}
