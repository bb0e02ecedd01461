use std::fmt;

use anyhow::Context as _;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cli::config::DatabaseArgs;
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::db::Role;
use crate::db::dead_letters::{self, DeadLetterRow};
use crate::domain::{Member, Reason};

const EXAMPLES: &str = "\
The login needs the role pii_vault_redrive.

Examples:
  pii-vault etl dead-letters list
  pii-vault etl dead-letters list --reason invalid_ip --limit 1000 --output json
  pii-vault etl dead-letters list --redriven      those that became events since";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct ListArgs {
    /// Only those with this reason
    #[arg(long, value_parser = reason)]
    reason: Option<Reason>,
    /// Those that were redriven, in place of those that are still to be
    #[arg(long)]
    redriven: bool,
    /// The most to list, latest first
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(in crate::cli) async fn list(args: ListArgs, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let mut conn = args.database.server()?.connect(Role::Redrive).await?;
    let rows = dead_letters::list(&mut conn, args.reason, args.redriven, args.limit.into()).await?;
    let listed = Listed(rows.into_iter().map(Shown::try_from).collect::<Result<_, _>>()?);
    output::result(format, &listed, &listed)?;
    Ok(ExitStatus::Done)
}

#[derive(Serialize)]
struct Listed(Vec<Shown>);

#[derive(Serialize)]
struct Shown {
    message_id: String,
    create_date: String,
    reason: &'static str,
    member: Option<&'static str>,
    size: i32,
    received_at: String,
    redriven_at: Option<String>,
}

impl TryFrom<DeadLetterRow> for Shown {
    type Error = anyhow::Error;

    fn try_from(row: DeadLetterRow) -> Result<Self, Self::Error> {
        let shown = |time: OffsetDateTime| time.format(&Rfc3339).context("a time that cannot be written");
        Ok(Self {
            message_id: row.message_id.to_string(),
            create_date: row.create_date.to_string(),
            reason: row.reason.code(),
            member: row.member.map(Member::key),
            size: row.size,
            received_at: shown(row.received_at)?,
            redriven_at: row.redriven_at.map(shown).transpose()?,
        })
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return writeln!(f, "no dead letters");
        }
        let redriven = self.0.iter().any(|row| row.redriven_at.is_some());
        let title = if redriven { "RECEIVED                     REDRIVEN" } else { "RECEIVED" };
        writeln!(f, "{:<36}  {:<14}  {:<11}  {:>8}  {title}", "MESSAGE ID", "REASON", "MEMBER", "BYTES")?;
        for row in &self.0 {
            let (member, received) = (row.member.unwrap_or("-"), &row.received_at);
            write!(f, "{:<36}  {:<14}  {member:<11}  {:>8}  ", row.message_id, row.reason, row.size)?;
            match &row.redriven_at {
                Some(at) => writeln!(f, "{received:<27}  {at}")?,
                None => writeln!(f, "{received}")?,
            }
        }
        Ok(())
    }
}

pub(super) fn reason(word: &str) -> Result<Reason, String> {
    Reason::ALL.into_iter().find(|reason| reason.code() == word).ok_or_else(|| {
        let known: Vec<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        format!("the reasons are {}", known.join(", "))
    })
}
