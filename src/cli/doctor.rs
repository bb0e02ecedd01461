use std::cmp::Reverse;
use std::fmt;

use serde::Serialize;

use super::config::{DatabaseArgs, KmsArgs};
use super::exit::ExitStatus;
use super::output::{self, OutputFormat};
use crate::aws::{Kms, KmsKeys, Sqs, client};
use crate::doctor::{self, Finding, Status};

const EXAMPLES: &str = "\
Changes nothing. The login should be a member of pii_vault_owner, as the one that ran `pii-vault
init` is, and the AWS identity may call kms:DescribeKey (and kms:GetKeyRotationStatus) on the four
KMS keys and sqs:GetQueueAttributes on the queue; with less, what could not be checked is said.

Exit status: 0 all is well, or there are warnings; 1 a check failed; 4 rows and keys do not go
together.

Examples:
  pii-vault doctor
  pii-vault doctor --output json | jq '.[] | select(.status != \"ok\")'";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The SQS queue, to check its settings
    #[arg(long, value_name = "URL", env = "PII_VAULT_QUEUE_URL", hide_env_values = true)]
    queue_url: Option<String>,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    kms: KmsArgs,
}

pub(super) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let server = args.database.server()?;
    let keys = KmsKeys::from(args.kms);
    let aws = client::load().await;
    let kms = Kms::new(&aws, keys.clone());
    let queue = match args.queue_url.as_deref().filter(|url| !url.is_empty()) {
        Some(url) => Some(Sqs::settings(&aws, url).await),
        None => None,
    };
    let found = Found(doctor::examine(&server, &kms, &keys, queue).await);
    output::result(format, &found, &found)?;
    Ok(match found.worst() {
        Status::Ok | Status::Warn => ExitStatus::Done,
        Status::Fail => ExitStatus::Failed,
        Status::Broken => ExitStatus::IntegrityBroken,
    })
}

#[derive(Serialize)]
struct Found(Vec<Finding>);

impl Found {
    fn worst(&self) -> Status {
        self.0.iter().map(|finding| finding.status).max().unwrap_or(Status::Ok)
    }
}

/// The worst first: it is what the reader came for.
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut findings: Vec<_> = self.0.iter().collect();
        findings.sort_by_key(|finding| Reverse(finding.status));
        for finding in &findings {
            writeln!(f, "{:<4}  {:<20}  {}", finding.status.name(), finding.check, finding.detail)?;
            if let Some(advice) = &finding.advice {
                writeln!(f, "{:<4}  {:<20}  → {advice}", "", "")?;
            }
        }
        let count = |name| findings.iter().filter(|finding| finding.status.name() == name).count();
        writeln!(f, "{} fail, {} warn, {} ok", count("fail"), count("warn"), count("ok"))
    }
}
