use std::fmt;

use anyhow::Context as _;
use serde::Serialize;

use super::config::{DatabaseArgs, KmsArgs};
use super::exit::ExitStatus;
use super::output::{self, OutputFormat};
use crate::aws::kms_keys::KmsKey;
use crate::aws::{Kms, KmsKeys, client};
use crate::init::{self, InitError, Options, Report};

const EXAMPLES: &str = "\
The login needs CREATEROLE, and CREATE on the database and on schema public; no superuser is
needed. It can be run again at any time: it makes what is missing and changes nothing else.

Examples:
  DATABASE_URL=postgres://admin:…@db.internal/logins pii-vault init --create-kms-keys
  pii-vault init --rename-existing     where a table user_logins of another origin is in the way";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Make KMS keys and aliases that are missing; without it, the commands that make them are printed
    #[arg(long)]
    create_kms_keys: bool,
    /// Rename a table user_logins that is not pii-vault's to user_logins_original
    #[arg(long)]
    rename_existing: bool,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    kms: KmsArgs,
}

pub(super) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let server = args.database.server()?;
    let keys = KmsKeys::from(args.kms);
    let kms = Kms::new(&client::load().await, keys.clone());
    let options = Options { create_kms_keys: args.create_kms_keys, rename_existing: args.rename_existing };
    match init::init(&server, &kms, &keys, options).await {
        Ok(report) => {
            let report = Shown::from(report);
            output::result(format, &report, &report)?;
            Ok(ExitStatus::Done)
        }
        Err(InitError::ForeignUserLogins { columns }) => {
            output::complain(&foreign(&columns));
            Ok(ExitStatus::Refused)
        }
        Err(InitError::MissingKmsKeys(keys)) => {
            output::complain(&missing(&keys));
            Ok(ExitStatus::Failed)
        }
        Err(error) => Err(error).context("init"),
    }
}

#[derive(Serialize)]
struct Shown {
    vault: String,
    migrations: Vec<String>,
    created_kms_keys: Vec<String>,
    created_token_key: bool,
    renamed_to: Option<String>,
}

impl From<Report> for Shown {
    fn from(report: Report) -> Self {
        Self {
            vault: report.vault.to_string(),
            migrations: report.migrations,
            created_kms_keys: report.created_kms_keys,
            created_token_key: report.created_token_key,
            renamed_to: report.renamed_to,
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.renamed_to {
            writeln!(f, "renamed      public.user_logins to public.{name}")?;
        }
        for key in &self.created_kms_keys {
            writeln!(f, "KMS key      {key} made")?;
        }
        let schema = match self.migrations.len() {
            0 => "up to date".to_owned(),
            count => format!("{count} migrations applied"),
        };
        writeln!(f, "schema       pii_vault: {schema}")?;
        let token_key = if self.created_token_key { "made" } else { "there already" };
        writeln!(f, "token key    {token_key}")?;
        writeln!(f, "vault        {}", self.vault)
    }
}

fn foreign(columns: &[String]) -> String {
    format!(
        "refused: public.user_logins exists and is not pii-vault's. It has the columns:\n  {}\n\
         Nothing was changed. To keep it under the name user_logins_original, run: pii-vault init --rename-existing",
        columns.join("\n  ")
    )
}

fn missing(keys: &[KmsKey]) -> String {
    let mut text =
        "error: KMS keys are missing. Run `pii-vault init --create-kms-keys`, or make them yourself:\n".to_owned();
    for key in keys {
        match key.commands() {
            Some(commands) => text += &format!("\n{commands}\n"),
            None => {
                text += &format!(
                    "\n{} names {}, which does not exist; name an alias or a key that does\n",
                    key.variable, key.name
                )
            }
        }
    }
    text
}
