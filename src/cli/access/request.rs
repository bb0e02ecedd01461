use std::fmt;
use std::time::Duration;

use super::grant::Shown;
use crate::cli::config::{DatabaseArgs, duration, field, reason};
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::cli::refusal::Refused;
use crate::db::Role;
use crate::db::access_grants::{self, AccessRequest};
use crate::domain::Field;

const EXAMPLES: &str = "\
Who asks is the login. Others approve, as many as the policy needs; the grant's time runs from the
last approval. The request, or its refusal, is in the audit log.

The login needs the role pii_vault_unmask.

Examples:
  pii-vault access request --fields ip,device_id --case CASE-4711 --max-values 200 --for 4h \\
      --reason 'account takeover, police file 23/118'
  pii-vault access list --case CASE-4711          whether it was approved";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// Which fields: ip, device_id, or both with a comma between them
    #[arg(long, value_name = "FIELDS", required = true, value_delimiter = ',', value_parser = field)]
    fields: Vec<Field>,
    /// Why, for the record and for who approves: at most 1000 characters
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
    /// The case, in the form that the policy asks for
    #[arg(long, value_name = "ID")]
    case: String,
    /// How many values to open at most: a row has one for each field
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_values: u32,
    /// How long the grant is to last, e.g. 4h
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    duration: Duration,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(super) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let mut conn = args.database.server()?.connect(Role::Unmask).await?;
    let asked = AccessRequest {
        fields: args.fields,
        reason: args.reason,
        case_id: args.case,
        max_values: args.max_values,
        duration: args.duration,
    };
    let id = match access_grants::request(&mut conn, &asked).await? {
        Ok(id) => id,
        Err(refusal) => return Refused::from(refusal).tell(format),
    };
    let shown = Requested(Shown::read(&mut conn, id).await?);
    output::result(format, &shown, &shown.0)?;
    Ok(ExitStatus::Done)
}

struct Requested(Shown);

impl fmt::Display for Requested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "requested  {}: {}", self.0.id, self.0.state_in_words())?;
        writeln!(f, "next: another login approves it: pii-vault access approve {}", self.0.id)
    }
}
