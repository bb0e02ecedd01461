mod select;
mod summary;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use clap::builder::NonEmptyStringValueParser;
use uuid::Uuid;

use super::config::{CheckpointKeyArgs, DatabaseArgs, duration};
use super::destination::Destination;
use super::exit::ExitStatus;
use super::output::{self, OutputFormat};
use super::refusal::Refused;
use super::signals::stop_on_signal;
use crate::aws::{Kms, client};
use crate::db::Role;
use crate::db::receipts::UnmaskRequest;
use crate::domain::Field;
use crate::unmask::{self, Ending, Format, Release, Report, UnmaskError};
use summary::Summary;

const EXAMPLES: &str = "\
Before anything is read, a committed row of the audit log says who opens which rows and why, and the
values are charged: to the newest grant of yours for the case that fits, else to what you may open
alone in 24 hours. What is charged stays charged, whether it opens or not. `access request` asks for
more. Each page of 500 rows is written once it is recorded what became of it.

Rows come in the order of create_date and event_id, with these columns: create_date, event_id,
user_id, ip, device_id. Whoever logged in chose the device_id. In a table, and in json by its own
rules (an object a line), what would drive a terminal is escaped. csv has each character as it came:
look at it with a program that escapes, and know that a spreadsheet may run what begins with = + -
or @.

A summary follows on standard error, or on standard output where no values go there.

The login needs the role pii_vault_unmask; the AWS identity needs kms:Decrypt on the data key, where
CloudTrail shows the receipt: app/pv-receipt-ID in the user agent. A receipt is good for 10 minutes.

Where policy asks for checkpoints, the notary has 10 s to sign what was recorded. With the public
key, which `pii-vault audit public-key` prints, its signature is verified before a key is unwrapped:
the notary signed the log up to your entry or further. What the log says there, who may read it
verifies: `pii-vault audit verify`.

Exit status 3: refused, or cut off on the way; 4: a row did not open, or was deleted meanwhile, and
the others were written; or the checkpoint does not verify, and nothing was opened.

Examples:
  pii-vault unmask --user-id 42 --reason 'account takeover, see report' --case C-17
  pii-vault unmask --masked-ip Gk0…Yw --fields device_id --dry-run --reason 'how many?' --case C-17
  pii-vault unmask --since 2026-03-01 --until 2026-03-02 --reason 'court order' --case C-18 \\
      --grant d57dc55b-7b83-4291-9c1c-6978ad80b679 --format csv --out c-18.csv";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Why, for the record: at most 1000 characters
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
    /// The case it is for
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    case: String,
    /// The fields to open, and to be charged for
    #[arg(long, value_name = "FIELDS", value_enum, value_delimiter = ',', default_values = ["ip", "device_id"])]
    fields: Vec<SealedField>,
    /// Charge this grant and no other
    #[arg(long, value_name = "ID")]
    grant: Option<Uuid>,
    /// Only say how many rows and values it would be, and what would be charged. Is recorded too
    #[arg(long, conflicts_with = "out")]
    dry_run: bool,
    /// How rows are written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: RowFormat,
    /// Write them to a new file that only you can read
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How long KMS or PostgreSQL may be away before the run gives up
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    patience: Duration,
    #[command(flatten)]
    checkpoints: CheckpointKeyArgs,
    // After the others, which would else stand under its heading.
    #[command(flatten)]
    which: select::Which,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum RowFormat {
    #[default]
    Table,
    Json,
    Csv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum SealedField {
    Ip,
    DeviceId,
}

pub(super) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let server = args.database.server()?;
    let fields: Vec<_> = args.fields.into_iter().map(Field::from).collect();
    let key = args.checkpoints.key()?;
    // Before the record: nothing is charged for a file that cannot be made.
    let mut destination = Destination::open(args.out)?;
    let mut release = Release::new(destination.writer()?, args.format.into(), &fields);
    let request = UnmaskRequest {
        fields,
        selector: args.which.into(),
        reason: args.reason,
        case_id: args.case,
        grant: args.grant,
        dry_run: args.dry_run,
    };
    let stop = stop_on_signal()?;
    let config = client::load().await;
    let mut report = Report::default();
    let result = async {
        // One at a time; another where that broke.
        let pool = server.pool(Role::Unmask, 1).await?;
        let wrapper = |receipt| Kms::for_receipt(&config, receipt);
        let progress = |report: &Report| {
            destination.progress(report.opened + report.did_not_open, report.rows.into(), "rows");
        };
        let run = unmask::run(
            &pool,
            wrapper,
            &request,
            key.as_ref(),
            args.patience,
            &mut release,
            &mut report,
            &stop,
            progress,
        )
        .await;
        run.map_err(unmask_error)
    }
    .await;
    let closed = destination.close(matches!(result, Ok(Ending::Complete)));
    if result.as_ref().is_err_and(output::is_broken_pipe) {
        return Ok(ExitStatus::Failed);
    }
    if let Ok(Ending::Refused(refusal)) = result {
        return Refused::from(refusal).tell(format);
    }
    let told = Summary::new(&report, result.as_ref().ok().copied(), request.dry_run);
    if destination.is_standard() && !request.dry_run {
        output::beside_data(format, &told, &told);
    } else {
        output::result(format, &told, &told)?;
    }
    let ending = result.with_context(|| went_before(&report))?;
    closed?;
    Ok(match ending {
        Ending::Stopped => ExitStatus::Failed,
        Ending::Refused(_) | Ending::CutOff(_) => ExitStatus::Refused,
        Ending::Complete if report.did_not_open > 0 => ExitStatus::IntegrityBroken,
        Ending::Complete => ExitStatus::Done,
    })
}

fn went_before(report: &Report) -> String {
    match (&report.receipt, report.audit_seq) {
        (Some(_), Some(_)) => format!("{} of {} rows were written before", report.released, report.rows),
        (Some(receipt), None) => format!("nothing was opened; receipt {receipt} is recorded, and may be charged"),
        (None, _) => "nothing was opened".to_owned(),
    }
}

/// What the writer said, so that a reader who went away is known as such.
fn unmask_error(error: UnmaskError) -> anyhow::Error {
    match error {
        UnmaskError::Write(error) => error.into(),
        error => error.into(),
    }
}

impl From<SealedField> for Field {
    fn from(field: SealedField) -> Self {
        match field {
            SealedField::Ip => Self::Ip,
            SealedField::DeviceId => Self::DeviceId,
        }
    }
}

impl From<RowFormat> for Format {
    fn from(format: RowFormat) -> Self {
        match format {
            RowFormat::Table => Self::Table,
            RowFormat::Json => Self::Json,
            RowFormat::Csv => Self::Csv,
        }
    }
}

fn reason(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() || text.chars().count() > 1000 {
        return Err("a reason is 1 to 1000 characters, and not only spaces");
    }
    Ok(text.to_owned())
}
