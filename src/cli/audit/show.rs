use std::fmt;

use anyhow::bail;
use serde_json::Value;

use super::entry::{Shown, hex};
use crate::audit::what;
use crate::cli::config::DatabaseArgs;
use crate::cli::escaped::Escaped;
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::db::Role;
use crate::db::audit_log::{Filter, head, page};
use crate::domain::audit::{Decision, Details, Entry};

const EXAMPLES: &str = "\
The login needs the role pii_vault_auditor. `client` is as PostgreSQL saw it; what is claimed, the
client says of itself. Whether the entry is as it was recorded, `pii-vault audit verify` says.

Examples:
  pii-vault audit show 17
  pii-vault audit show 17 --output json | jq .details";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// The number of the entry
    #[arg(value_name = "SEQ", value_parser = clap::value_parser!(i64).range(1..))]
    seq: i64,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(super) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let mut conn = args.database.server()?.connect(Role::Auditor).await?;
    let entries = page(&mut conn, &Filter::default(), args.seq - 1, 1).await?;
    let Some(entry) = entries.first().filter(|entry| entry.seq == args.seq) else {
        let last = head(&mut conn).await?.seq;
        bail!("there is no entry {}; the log goes from 1 to {last}", args.seq);
    };
    output::result(format, &Page(entry), &Shown::from(entry))?;
    Ok(ExitStatus::Done)
}

struct Page<'a>(&'a Entry);

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { origin, .. } = self.0;
        let said = Details::of(self.0).map(|details| what(&details)).ok().filter(|said| !said.is_empty());
        let subject = self.0.subject.map(|subject| subject.to_string());
        for (name, text) in [
            ("entry", Some(self.0.seq.to_string().as_str())),
            ("at", Some(self.0.at.to_string().as_str())),
            ("action", Some(self.0.action.name())),
            ("decision", self.0.decision.map(Decision::name)),
            ("refusal", self.0.refusal.as_deref()),
            ("actor", Some(origin.actor.as_str())),
            ("role", Some(origin.role.as_str())),
            ("client", origin.client_address.as_deref()),
            ("claimed host", origin.claimed_host.as_deref()),
            ("claimed version", origin.claimed_version.as_deref()),
            ("case", self.0.case_id.as_deref()),
            ("reason", self.0.reason.as_deref()),
            ("about", subject.as_deref()),
            ("what", said.as_deref()),
            ("hash", Some(hex(&self.0.hash).as_str())),
        ] {
            writeln!(f, "{name:<16}  {}", Escaped(text.unwrap_or("-")))?;
        }
        writeln!(f, "details")?;
        let pretty = serde_json::from_str::<Value>(&self.0.details).map(|details| format!("{details:#}"));
        pretty.as_deref().unwrap_or(&self.0.details).lines().try_for_each(|line| writeln!(f, "  {}", Escaped(line)))
    }
}
