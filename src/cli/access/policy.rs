use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::cli::config::{DatabaseArgs, duration, reason, usage};
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::cli::table::plain;
use crate::db::access_policy::{self, AccessPolicy, PolicyChange, SetPolicyError};
use crate::db::{Connection, Role};
use crate::domain::{CasePattern, CheckpointPolicy};

const EXAMPLES: &str = "\
Without a policy nothing opens; `pii-vault init` sets none. The login needs one of the roles
pii_vault_unmask, pii_vault_approver, pii_vault_auditor, pii_vault_owner.

Examples:
  pii-vault access policy
  pii-vault access policy set --alone-limit 10 --approvals 1 --longest-grant 8h \\
      --case-pattern 'CASE-[0-9]{1,8}' --checkpoints scheduled --reason 'first policy, CISO 2026-11'";

const SET: &str = "\
What is not named stays as it is; the first policy has the defaults. What is tightened holds at
once, also for grants that were given before.

The login needs to be a member of pii_vault_owner, as the one that ran `pii-vault init` is. The
policy, who set it and why are in the audit log.

Examples:
  pii-vault access policy set --reason 'the defaults'
  pii-vault access policy set --approvals 2 --reason 'audit finding 7'
  pii-vault access policy set --alone-limit 0 --reason 'nothing without a second person'";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(in crate::cli) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Set what may be opened by whom
    Set(SetArgs),
}

#[derive(clap::Args, Debug)]
#[command(after_help = SET)]
struct SetArgs {
    /// Values that one officer may open in 24 hours without a grant; 0: none [first: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..=1_000_000))]
    alone_limit: Option<i32>,
    /// How many others must approve a grant, 1 to 10 [first: 1]
    #[arg(long, value_name = "N", value_parser = approvals)]
    approvals: Option<i32>,
    /// How long a grant may last, 1m to 30d [first: 8h]
    #[arg(long, value_name = "DURATION", value_parser = longest)]
    longest_grant: Option<Duration>,
    /// A regular expression that the whole of a case id must match; what PostgreSQL and other programs read
    /// differently is refused [first: .+]
    #[arg(long, value_name = "REGEX", value_parser = case_pattern)]
    case_pattern: Option<CasePattern>,
    /// required: nothing opens before a signed checkpoint covers its record; scheduled: checkpoints come when they
    /// come [first: scheduled]
    #[arg(long, value_name = "WHEN", value_parser = checkpoints)]
    checkpoints: Option<CheckpointPolicy>,
    /// Why, for the record: at most 1000 characters
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(super) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let mut conn = match args.command {
        Some(Command::Set(args)) => set(args).await?,
        None => {
            let roles = [Role::Approver, Role::Auditor, Role::Unmask, Role::Owner];
            args.database.server()?.connect_as_first(&roles).await?
        }
    };
    let shown = Shown(access_policy::current(&mut conn).await?.map(Policy::from));
    output::result(format, &shown, &shown)?;
    Ok(ExitStatus::Done)
}

async fn set(args: SetArgs) -> anyhow::Result<Connection> {
    let mut conn = args.database.server()?.connect(Role::Owner).await?;
    let change = PolicyChange {
        alone_limit: args.alone_limit,
        approvals: args.approvals,
        longest_grant: args.longest_grant,
        case_pattern: args.case_pattern,
        checkpoints: args.checkpoints,
    };
    match access_policy::set(&mut conn, &change, &args.reason).await {
        Err(SetPolicyError::CasePattern) => usage(
            "PostgreSQL does not take --case-pattern as a regular expression; write it simpler, e.g. 'CASE-[0-9]{1,8}'",
        ),
        set => Ok(set.map(|()| conn)?),
    }
}

/// As JSON: null where there is none.
#[derive(Serialize)]
struct Shown(Option<Policy>);

#[derive(Serialize)]
struct Policy {
    seq: i64,
    alone_limit: i32,
    approvals: i32,
    longest_grant_seconds: i32,
    case_pattern: String,
    checkpoints: &'static str,
}

impl From<AccessPolicy> for Policy {
    fn from(policy: AccessPolicy) -> Self {
        Self {
            seq: policy.seq,
            alone_limit: policy.alone_limit,
            approvals: policy.approvals,
            longest_grant_seconds: policy.longest_grant_seconds,
            case_pattern: policy.case_pattern,
            checkpoints: policy.checkpoints.name(),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(policy) = &self.0 else {
            writeln!(f, "no policy is set, so nothing opens")?;
            return writeln!(f, "next: an administrator sets one: pii-vault access policy set --reason …");
        };
        let longest = Duration::from_secs(u64::from(policy.longest_grant_seconds.unsigned_abs()));
        writeln!(f, "alone limit       {} values in 24 hours", policy.alone_limit)?;
        writeln!(f, "approvals         {}", policy.approvals)?;
        writeln!(f, "longest grant     {}", humantime::format_duration(longest))?;
        writeln!(f, "case pattern      {}", plain(&policy.case_pattern))?;
        writeln!(f, "checkpoints       {}", policy.checkpoints)?;
        writeln!(f, "set by            row {} of the audit log", policy.seq)
    }
}

fn approvals(text: &str) -> Result<i32, &'static str> {
    match text.parse() {
        Ok(count @ 1..=10) => Ok(count),
        Ok(0) => Err("zero would mean that nobody has to approve; it is at least 1, and never means open"),
        _ => Err("a whole number from 1 to 10"),
    }
}

fn longest(text: &str) -> Result<Duration, &'static str> {
    let longest = duration(text)?;
    if (60..=2_592_000).contains(&longest.as_secs()) { Ok(longest) } else { Err("a grant may last 1m to 30d") }
}

fn case_pattern(text: &str) -> Result<CasePattern, String> {
    CasePattern::parse(text).map_err(|error| error.to_string())
}

fn checkpoints(word: &str) -> Result<CheckpointPolicy, &'static str> {
    CheckpointPolicy::ALL.into_iter().find(|policy| policy.name() == word).ok_or("it is required or scheduled")
}
