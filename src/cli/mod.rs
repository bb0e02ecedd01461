//! The command line: reads configuration, wires adapters to use cases, prints. Each command is a file.

mod access;
mod audit;
mod config;
mod database;
mod database_login;
mod destination;
mod doctor;
mod escaped;
mod etl;
mod exit;
mod init;
mod key_rotation;
mod logging;
mod lookup;
mod output;
mod progress;
mod refusal;
mod retention;
mod signals;
mod table;
mod unmask;

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, setrlimit};

use exit::ExitStatus;
use logging::LogFormat;
use output::OutputFormat;

const EXAMPLES: &str = "\
Examples:
  pii-vault init --create-kms-keys        make schema, roles, vault id and keys
  pii-vault etl run                       drain the queue until SIGTERM
  pii-vault etl run --drain --output json drain it once, summary as JSON
  pii-vault etl dead-letters list         what could not be stored, and why
  pii-vault etl dead-letters redrive --all --note 'after the upgrade'
  pii-vault lookup ip --reason TEXT --case ID < addresses.txt    the tokens of values
  pii-vault access list --state pending   requests that wait for an approval
  pii-vault unmask --user-id 42 --reason 'fraud report' --case C-17
  pii-vault key-rotation status           the keys, what is under each, and rotations under way
  pii-vault audit verify                  whether the log is what was recorded
  pii-vault audit report --month 2026-11  who read what, and why, for an auditor
  pii-vault audit notary --sink s3://…    sign the audit log as it grows, with copies elsewhere
  pii-vault doctor                        what is wrong, and what to do about it

Settings (a flag goes before its variable):
  DATABASE_URL, PII_VAULT_DATABASE_URL_FILE   PostgreSQL; a password belongs here, never in a flag
  PII_VAULT_DATABASE_CA, _AUTH, _SECRET       TLS, IAM authentication, Secrets Manager
  PGPASSWORD, PGPASSFILE, PGSSLMODE, PGSSLROOTCERT   as for psql
  PII_VAULT_QUEUE_URL                         the SQS queue
  PII_VAULT_{DATA,TOKEN,DEAD_LETTER,SIGNING}_KMS_KEY
  AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL_SQS, AWS_ENDPOINT_URL_KMS, … as in every AWS SDK
  RUST_LOG                                    e.g. pii_vault=debug

Exit status: 0 done, 1 failed, 2 usage, 3 refused, 4 integrity broken.";

/// Login events from SQS into PostgreSQL: keyed tokens to analyse, sealed originals to recover.
#[derive(Debug, Parser)]
#[command(name = "pii-vault", version, term_width = 100, args_override_self = true, after_help = EXAMPLES)]
struct Cli {
    /// How results are written to standard output
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    output: OutputFormat,

    /// How logs are written to standard error
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        env = "PII_VAULT_LOG_FORMAT",
        hide_env_values = true
    )]
    log_format: LogFormat,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the schema, the roles, the vault id and the first token key, or what of them is missing
    Init(init::Args),
    /// Ingest login events
    #[command(subcommand)]
    Etl(etl::Command),
    /// Turn addresses or device ids into the tokens that analysts see, on the record
    Lookup(lookup::Args),
    /// Ask for grants to unmask, decide on them, and set the policy
    #[command(subcommand)]
    Access(access::Command),
    /// Open the originals of a case, recorded before anything is read
    Unmask(unmask::Args),
    /// Rotate the keys of the vault while it is in use
    #[command(subcommand)]
    KeyRotation(key_rotation::Command),
    /// Look after partitions, and delete what has been kept for long enough
    Retention(retention::Args),
    /// The record of who did what, and why: read it, verify it, make it evidence
    #[command(subcommand)]
    Audit(audit::Command),
    /// Check the vault, its roles, keys and servers, and say what to do
    Doctor(doctor::Args),
}

/// Parses the command line, runs the command, and returns its exit status.
#[must_use]
pub fn main() -> ExitCode {
    no_core_dump();
    let cli = Cli::try_parse().unwrap_or_else(|error| refuse(&error));
    logging::start(cli.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&anyhow::Error::new(error).context("starting")),
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Init(args) => init::run(args, cli.output).await,
            Command::Etl(command) => etl::run(command, cli.output).await,
            Command::Lookup(args) => lookup::run(args, cli.output).await,
            Command::Access(command) => access::run(command, cli.output).await,
            Command::Unmask(args) => unmask::run(args, cli.output).await,
            Command::KeyRotation(command) => key_rotation::run(command, cli.output).await,
            Command::Retention(args) => retention::run(args, cli.output).await,
            Command::Audit(command) => audit::run(command, cli.output).await,
            Command::Doctor(args) => doctor::run(args, cli.output).await,
        }
    });
    // A task that hangs in a system call must not hold up the exit.
    runtime.shutdown_background();
    match result {
        Ok(status) => status.into(),
        Err(error) => report(&error),
    }
}

/// A core file would hold what a process has in memory: plaintext, and unwrapped keys. Where the limit cannot be set,
/// nothing is worse than before.
fn no_core_dump() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, none);
}

/// clap quotes what it does not understand. Where that could hold a password, it is not quoted.
fn refuse(error: &clap::Error) -> ! {
    let names_somebody = |arg: &str| arg.contains("://") && arg.contains('@');
    if error.use_stderr() && std::env::args_os().any(|arg| names_somebody(&arg.to_string_lossy())) {
        output::complain(
            "error: an argument is not understood; none is repeated here, as one looks like a database URL",
        );
        output::complain("For more information, try '--help'.");
        std::process::exit(2);
    }
    let looks_up = std::env::args_os().any(|arg| arg == "lookup");
    if looks_up && quotes_an_operand(error) {
        output::complain(
            "error: an argument is not understood; it is not repeated here, as it could be a value. Values go to \
             standard input: pii-vault lookup ip --reason TEXT --case ID < addresses.txt",
        );
        output::complain("For more information, try '--help'.");
        std::process::exit(2);
    }
    error.exit()
}

fn quotes_an_operand(error: &clap::Error) -> bool {
    match error.kind() {
        ErrorKind::UnknownArgument => true,
        ErrorKind::InvalidValue => error
            .get(ContextKind::InvalidArg)
            .is_some_and(|arg| matches!(arg, ContextValue::String(name) if name == "<FIELD>")),
        _ => false,
    }
}

fn report(error: &anyhow::Error) -> ExitCode {
    if output::is_broken_pipe(error) {
        return ExitStatus::Failed.into();
    }
    output::complain(&format!("error: {error:#}"));
    ExitStatus::of(error).into()
}
