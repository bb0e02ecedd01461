use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;

use anyhow::Context as _;
use clap::builder::NonEmptyStringValueParser;
use serde::Serialize;

use super::config::{CheckpointKeyArgs, DatabaseArgs, UsageError};
use super::exit::ExitStatus;
use super::output::{self, OutputFormat};
use super::refusal::Refused;
use crate::aws::{Kms, client};
use crate::crypto::Token;
use crate::db::Role;
use crate::domain::Field;
use crate::lookup::{self, Purpose, Values, ValuesError};

const EXAMPLES: &str = "\
Reads values from standard input, one a line, so that none is in a process list or in a shell's
history, and writes the token of each, in the same order: what user_logins shows as masked_ip or
masked_device_id, and what `pii-vault unmask` selects by. 10,000 values at most.

Before the token key is unwrapped, a committed row of the audit log says who looks up how many
values, and why; before the tokens are shown, another names them. The values are in neither.

Where policy asks for checkpoints, the notary has 10 s to sign what was recorded. With the public
key, which `pii-vault audit public-key` prints, its signature is verified before the token key is
unwrapped (exit status 4: it does not verify, and nothing is shown).

The login needs the role pii_vault_lookup. The AWS identity needs kms:Decrypt on the token key.

Examples:
  pii-vault lookup ip --reason 'account takeover' --case FRAUD-4711 < addresses.txt
  pii-vault lookup device-id --reason 'chargeback' --case FRAUD-4712 --output json < devices.txt";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// What the values are
    #[arg(value_enum)]
    field: LookupField,
    /// Why, for the record: at most 1000 characters
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
    /// The case, as policy has it
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    case: String,
    #[command(flatten)]
    checkpoints: CheckpointKeyArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LookupField {
    Ip,
    DeviceId,
}

pub(super) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let server = args.database.server()?;
    let key = args.checkpoints.key()?;
    let values = values(args.field.into())?;
    let mut conn = server.connect(Role::Lookup).await?;
    let config = client::load().await;
    let purpose = Purpose { reason: args.reason, case: args.case };
    let wrapper = |receipt| Kms::for_receipt(&config, receipt);
    let looked = lookup::run(&mut conn, wrapper, &values, &purpose, key.as_ref()).await.context("nothing is shown")?;
    let recorded = format!("recorded as {}, row {} of the audit log", looked.receipt, looked.seq);
    let status = match looked.tokens {
        Ok(tokens) => {
            let shown = Shown(tokens.iter().zip(1..).map(Line::from).collect());
            output::result(format, &shown, &shown)?;
            ExitStatus::Done
        }
        Err(refusal) => Refused::from(refusal).tell(format)?,
    };
    output::complain(&recorded);
    Ok(status)
}

fn values(field: Field) -> anyhow::Result<Values> {
    let input = io::stdin();
    if input.is_terminal() {
        output::complain("reading values from the terminal, one a line; end them with Ctrl-D on a line of its own");
    }
    // Past the buffer of Rust's own, which keeps what went through it.
    let input = input.as_fd().try_clone_to_owned().context("opening standard input")?;
    Values::read(field, File::from(input)).map_err(|error| match error {
        ValuesError::Read(_) => error.into(),
        _ => UsageError(error.to_string()).into(),
    })
}

impl From<LookupField> for Field {
    fn from(field: LookupField) -> Self {
        match field {
            LookupField::Ip => Self::Ip,
            LookupField::DeviceId => Self::DeviceId,
        }
    }
}

#[derive(Serialize)]
struct Shown(Vec<Line>);

#[derive(Serialize)]
struct Line {
    line: usize,
    token: String,
}

impl From<(&Token, usize)> for Line {
    fn from((token, line): (&Token, usize)) -> Self {
        Self { line, token: token.to_string() }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(f, "{}", line.token))
    }
}

fn reason(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() || text.chars().count() > 1000 {
        return Err("a reason is 1 to 1000 characters, and not only spaces");
    }
    Ok(text.to_owned())
}
