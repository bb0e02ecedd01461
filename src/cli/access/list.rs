use std::fmt;

use serde::Serialize;

use super::grant::Shown;
use crate::cli::config::DatabaseArgs;
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::cli::table::Table;
use crate::db::Role;
use crate::db::access_grants::{self, Selection};
use crate::domain::AccessState;

const EXAMPLES: &str = "\
States: pending waits for approvals; granted permits reading; expired did so for its time; denied by
an approver; revoked by an approver, or withdrawn by who asked. By the policy of today: what it
tightens holds for what was granted before.

An officer (pii_vault_unmask) sees what the login asked for; pii_vault_approver and
pii_vault_auditor see all.

Examples:
  pii-vault access list --state pending
  pii-vault access list --case CASE-4711 --output json | jq '.[] | {id, used, max_values}'";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// Only those in this state; can be repeated
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Vec<AccessState>,
    /// Only those for this case
    #[arg(long, value_name = "ID")]
    case: Option<String>,
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
    let roles = [Role::Approver, Role::Auditor, Role::Unmask];
    let mut conn = args.database.server()?.connect_as_first(&roles).await?;
    let selection =
        Selection { id: None, states: args.state, case_id: args.case, limit: (!args.all).then_some(args.limit) };
    let grants = access_grants::list(&mut conn, &selection).await?;
    let listed = Listed(grants.into_iter().map(Shown::try_from).collect::<Result<_, _>>()?);
    output::result(format, &listed, &listed)?;
    Ok(ExitStatus::Done)
}

/// Latest first.
#[derive(Serialize)]
struct Listed(Vec<Shown>);

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return writeln!(f, "no requests");
        }
        let mut table = Table::new([
            "ID",
            "STATE",
            "ASKED BY",
            "CASE",
            "FIELDS",
            "USED",
            "APPROVED BY",
            "ENDED BY",
            "EXPIRES",
            "REASON",
        ]);
        for grant in &self.0 {
            let approved =
                format!("{}/{} {}", grant.approved_by.len(), grant.approvals_needed, grant.approved_by.join(","));
            let ended = [grant.denied_by.join(","), grant.revoked_by.join(",")].join(" ");
            table.add([
                grant.id.clone(),
                grant.state.to_owned(),
                grant.requester.clone(),
                grant.case.clone(),
                grant.fields.join(","),
                format!("{}/{}", grant.used, grant.max_values),
                approved.trim().to_owned(),
                or_dash(ended.trim()),
                or_dash(grant.expires_at.as_deref().unwrap_or_default()),
                grant.reason.clone(),
            ]);
        }
        table.fmt(f)
    }
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

fn state(word: &str) -> Result<AccessState, String> {
    AccessState::ALL.into_iter().find(|state| state.name() == word).ok_or_else(|| {
        let known: Vec<_> = AccessState::ALL.iter().map(|state| state.name()).collect();
        format!("the states are {}", known.join(", "))
    })
}
