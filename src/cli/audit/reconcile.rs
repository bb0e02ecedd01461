use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use super::list::time;
use crate::audit::reconcile::cloudtrail::Trail;
use crate::audit::reconcile::{Mismatch, Principal, Question, Reconciled, reconcile};
use crate::cli::config::{DatabaseArgs, duration};
use crate::cli::escaped::Escaped;
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::db::Role;
use crate::domain::audit::UnixMicros;

const EXAMPLES: &str = "\
AWS keeps its own record of each key that KMS unwraps, which nobody of the vault can alter: entries
of kms:Decrypt in CloudTrail. FILE is what CloudTrail delivers to S3, plain or gzip, JSON lines of
one entry each, or what `aws cloudtrail lookup-events` prints. Only entries whose encryption context
names this vault count. Look for:

  no_receipt        a data key was unwrapped without a receipt: somebody went past the log
  unknown_receipt   the log has no such receipt
  not_permitted     the receipt was refused, or it or the rotation is for something else
  wrong_principal   not who --principal, --lookup-principal or --reseal-principal says
  unmask_principal  who unmasks unwrapped a token key or a dead-letter key, or for a rotation
  apart             longer than --tolerance from the record, or from the span of the rotation
  unknown_job       the log has no such rotation of keys
  no_unwrap         the log says that something was opened, and AWS unwrapped nothing for it:
                    entries are missing, or the log was made up

The receipt is what the client called itself (app/pv-receipt-ID in the user agent). Whoever may call
kms:Decrypt can call itself by any receipt: that one is named proves nothing. That none is named,
that a receipt has no unwrap, and who the principal is, are evidence. A rotation of keys that opens
values calls itself app/pv-job-ID, which proves as little: its unwraps are counted by rotation and
principal. Services unwrap token keys and dead-letter keys without either; these are counted by
principal.

Receipts outside of the span of the entries are not looked for; --since and --until say otherwise.
The login needs the role pii_vault_auditor. Run `pii-vault audit verify` as well; whether the files
are those that AWS delivered, `aws cloudtrail validate-logs` says.

Exit status 4: something does not fit.

Examples:
  pii-vault audit reconcile --cloudtrail 1234_CloudTrail_eu-central-1_*.json.gz
  aws cloudtrail lookup-events --lookup-attributes AttributeKey=EventName,AttributeValue=Decrypt |
      pii-vault audit reconcile --cloudtrail - --principal 'arn:aws:iam::*:role/pii-vault-unmask'";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// Entries of CloudTrail; - is standard input
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    cloudtrail: Vec<PathBuf>,
    /// Who unmasks: the ARN of a role, user or session; * is any characters
    #[arg(long, value_name = "ARN")]
    principal: Option<Principal>,
    /// Who looks up tokens
    #[arg(long, value_name = "ARN")]
    lookup_principal: Option<Principal>,
    /// Who seals values anew and fills token slots, for rotations of keys
    #[arg(long, value_name = "ARN")]
    reseal_principal: Option<Principal>,
    /// How far an unwrap may be from the record of its receipt, which is good for 10 minutes
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration)]
    tolerance: Duration,
    /// Receipts from here on must have an unwrap, rather than from the first entry on
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<UnixMicros>,
    /// Receipts before this must have an unwrap, rather than until the last entry
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<UnixMicros>,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(in crate::cli) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let mut trail = Trail::default();
    for path in &args.cloudtrail {
        let input: Box<dyn Read> = match path.as_os_str() == "-" {
            true => Box::new(io::stdin()),
            false => Box::new(File::open(path).with_context(|| format!("opening {}", path.display()))?),
        };
        trail.add(input).with_context(|| format!("{} is not what CloudTrail writes", path.display()))?;
    }
    let question = Question {
        unmask: args.principal,
        lookup: args.lookup_principal,
        reseal: args.reseal_principal,
        tolerance: args.tolerance,
        since: args.since,
        until: args.until,
    };
    let mut conn = args.database.server()?.connect(Role::Auditor).await?;
    let compared = reconcile(&mut conn, &trail, &question).await?;
    output::result(format, &Shown(&compared), &compared)?;
    Ok(if compared.findings_count == 0 { ExitStatus::Done } else { ExitStatus::IntegrityBroken })
}

struct Shown<'a>(&'a Reconciled);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let compared = self.0;
        writeln!(f, "vault        {}", compared.vault)?;
        match &compared.span {
            Some([since, until]) => writeln!(f, "span         {since} to {until}")?,
            None => writeln!(f, "span         none: there is no entry")?,
        }
        writeln!(f, "entries      {} of CloudTrail", compared.entries)?;
        writeln!(
            f,
            "unwraps      {} of data keys, {} for look-ups, {} for rotations, {} that KMS refused",
            compared.data_unwraps, compared.lookup_unwraps, compared.rotation_unwraps, compared.failed
        )?;
        for rotation in &compared.rotations {
            let (principal, purpose) = (Escaped(&rotation.principal), Escaped(&rotation.purpose));
            writeln!(
                f,
                "rotation     {} ({}): {} unwraps of {purpose} keys by {principal}",
                rotation.job,
                Escaped(&rotation.kind),
                rotation.unwraps
            )?;
        }
        for service in &compared.services {
            let (principal, purpose) = (Escaped(&service.principal), Escaped(&service.purpose));
            writeln!(f, "service      {principal}: {} unwraps of {purpose} keys", service.unwraps)?;
        }
        writeln!(
            f,
            "receipts     {} in the span that something came of; {} outside, not looked at",
            compared.receipts, compared.receipts_outside
        )?;
        for finding in &compared.findings {
            write_finding(f, finding)?;
        }
        match compared.findings_count {
            0 => writeln!(
                f,
                "nothing contradicts the log; a receipt or rotation that a client named proves nothing by itself"
            ),
            count => writeln!(f, "{count} do not fit; see `pii-vault audit reconcile --help` for what each means"),
        }
    }
}

fn write_finding(f: &mut fmt::Formatter<'_>, finding: &Mismatch) -> fmt::Result {
    writeln!(f, "DOES NOT FIT {}  {} ({})", finding.at, Escaped(&finding.what), finding.word)?;
    let seq = finding.seq.map(|seq| seq.to_string());
    for (name, text) in [
        ("receipt", &finding.receipt),
        ("rotation", &finding.job),
        ("log entry", &seq),
        ("principal", &finding.principal),
        ("key", &finding.key),
        ("event id", &finding.event_id),
    ] {
        if let Some(text) = text {
            writeln!(f, "             {name:<9}  {}", Escaped(text))?;
        }
    }
    Ok(())
}
