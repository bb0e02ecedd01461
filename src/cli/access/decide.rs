use std::fmt;

use uuid::Uuid;

use super::grant::Shown;
use crate::cli::config::{DatabaseArgs, reason};
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::cli::refusal::Refused;
use crate::db::Role;
use crate::db::access_grants;
use crate::domain::Verdict;

pub(super) const APPROVE: &str = "\
Who approves is the login, never who asked, and nobody counts twice. `pii-vault access revoke` takes
back what is granted.

The login needs the role pii_vault_approver.

Examples:
  pii-vault access list --state pending           what waits, from whom, and why
  pii-vault access approve d57dc55b-7b83-4291-9c1c-6978ad80b679 --reason 'as agreed with legal'";

pub(super) const DENY: &str = "\
One denial is enough, and final; whoever was denied a case opens nothing of it alone either.

The login needs the role pii_vault_approver.

Examples:
  pii-vault access deny d57dc55b-7b83-4291-9c1c-6978ad80b679 --reason 'no such case'";

#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Args {
    /// The request
    id: Uuid,
    /// Why, for the record: at most 1000 characters
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(super) async fn run(args: Args, verdict: Verdict, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let mut conn = args.database.server()?.connect(Role::Approver).await?;
    if let Err(refusal) = access_grants::decide(&mut conn, args.id, verdict, args.reason.as_deref()).await? {
        return Refused::from(refusal).tell(format);
    }
    let decided = Decided { verdict, grant: Shown::read(&mut conn, args.id).await? };
    output::result(format, &decided, &decided.grant)?;
    Ok(ExitStatus::Done)
}

struct Decided {
    verdict: Verdict,
    grant: Shown,
}

impl fmt::Display for Decided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verdict, grant) = (self.verdict.name(), &self.grant);
        match self.verdict {
            Verdict::Approved => writeln!(f, "{verdict}  {}: {}", grant.id, grant.state_in_words()),
            Verdict::Denied => writeln!(f, "{verdict}  {}", grant.id),
        }
    }
}
