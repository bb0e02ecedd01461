use std::fmt;

use uuid::Uuid;

use super::grant::Shown;
use crate::cli::config::{DatabaseArgs, reason};
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::cli::refusal::Refused;
use crate::db::access_grants;
use crate::db::{Fault, Role};

const EXAMPLES: &str = "\
In force at once, also for reads that are under way, and whoever holds up the audit log: where it
cannot be added to the log now, the next who records anything adds it.

The login needs the role pii_vault_approver, or pii_vault_unmask for what it asked for itself.

Examples:
  pii-vault access revoke d57dc55b-7b83-4291-9c1c-6978ad80b679 --reason 'case closed'";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// The request
    id: Uuid,
    /// Why, for the record: at most 1000 characters
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(super) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let mut conn = args.database.server()?.connect_as_first(&[Role::Approver, Role::Unmask]).await?;
    if let Err(refusal) = access_grants::revoke(&mut conn, args.id, args.reason.as_deref()).await? {
        return Refused::from(refusal).tell(format);
    }
    // Told before it is in the log, which can take seconds, and need not be waited for.
    let revoked = Revoked(Shown::read(&mut conn, args.id).await?);
    output::result(format, &revoked, &revoked.0)?;
    if let Err(error) = access_grants::chain_revocations(&mut conn).await {
        let why = match error.fault() {
            Fault::LogHeld => "another transaction holds the log; `pii-vault doctor` names who".to_owned(),
            _ => error.to_string(),
        };
        output::complain(&format!(
            "the revocation is in force, but not in the audit log yet ({why}). The next who records anything adds it"
        ));
    }
    Ok(ExitStatus::Done)
}

struct Revoked(Shown);

impl fmt::Display for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "revoked  {}: nothing more is opened by it", self.0.id)
    }
}
