//! Where PostgreSQL is, and who logs in. A flag goes before its variable, and what the URL says before both.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::config::{UsageError, usage};
use super::database_login;
use crate::db::{Beside, LoginSource, Roots, Server};

/// Where PostgreSQL is, and who logs in.
#[derive(Args, Debug)]
#[command(next_help_heading = "Database")]
pub(super) struct DatabaseArgs {
    /// PostgreSQL, without a password: postgres://user@host:5432/database?sslmode=verify-full [env: DATABASE_URL, with
    /// a password, or PII_VAULT_DATABASE_URL_FILE, a file that holds the URL]
    #[arg(long, value_name = "URL")]
    database_url: Option<SecretString>,
    /// CA certificates (PEM) that the server's must come from, or `system` for this system's. Without sslmode in the
    /// URL this means sslmode=verify-full
    #[arg(long, value_name = "FILE", env = "PII_VAULT_DATABASE_CA", hide_env_values = true)]
    database_ca: Option<PathBuf>,
    /// What stands for a password: one that is set, or an IAM token of RDS, signed for each connection
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "WAY",
        env = "PII_VAULT_DATABASE_AUTH",
        hide_env_values = true
    )]
    database_auth: Auth,
    /// A secret of Secrets Manager in RDS's form: user and password, and the address where there is no URL. Read again
    /// when the login is refused
    #[arg(long, value_name = "ARN", env = "PII_VAULT_DATABASE_SECRET", hide_env_values = true,
          value_parser = NonEmptyStringValueParser::new())]
    database_secret: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Auth {
    #[default]
    Password,
    Iam,
}

impl DatabaseArgs {
    /// Nothing is connected to yet, neither PostgreSQL nor AWS.
    pub(super) fn server(&self) -> anyhow::Result<Server> {
        let (login, asked) = match (self.database_auth, &self.database_secret) {
            (Auth::Iam, Some(_)) => return usage("--database-auth iam needs no secret; leave out --database-secret"),
            (Auth::Iam, None) => (database_login::iam(), true),
            (Auth::Password, Some(arn)) => (database_login::secret(arn.clone()), true),
            (Auth::Password, None) => (password(), false),
        };
        let beside = Beside {
            mode: variable("PGSSLMODE").map(|mode| mode.to_string_lossy().parse()).transpose().map_err(usage_error)?,
            roots: self.database_ca.clone().map(Roots::from),
            default_roots: variable("PGSSLROOTCERT").map(|path| Roots::from(PathBuf::from(path))),
            login,
            claimed_host: gethostname::gethostname().into_string().ok(),
        };
        let url = match &self.database_url {
            Some(url) => url.clone(),
            None => url_from_environment(self.database_secret.is_some())?,
        };
        let server = Server::new(&url, beside).map_err(usage_error)?;
        if server.has_password() && self.database_url.is_some() {
            return usage(
                "--database-url holds a password, which every user of this machine can read in the process list; \
                 put the URL into DATABASE_URL or a file named by PII_VAULT_DATABASE_URL_FILE",
            );
        }
        if server.has_password() && asked {
            return usage(
                "the database URL holds a password, and --database-secret or --database-auth iam gives another; \
                 take it out of the URL",
            );
        }
        Ok(server)
    }
}

/// As for psql: `PGPASSWORD`, else the file that `PGPASSFILE` names, else `~/.pgpass`.
fn password() -> LoginSource {
    if let Some(password) = variable("PGPASSWORD").and_then(|password| password.into_string().ok()) {
        return LoginSource::Password(password.into());
    }
    let home = || env::home_dir().map(|home| home.join(".pgpass"));
    variable("PGPASSFILE").map(PathBuf::from).or_else(home).map_or(LoginSource::Url, LoginSource::PasswordFile)
}

fn url_from_environment(may_be_missing: bool) -> anyhow::Result<SecretString> {
    if let Some(url) = variable("DATABASE_URL") {
        return match url.into_string() {
            Ok(url) => Ok(url.into()),
            Err(_) => usage("DATABASE_URL is not UTF-8"),
        };
    }
    match variable("PII_VAULT_DATABASE_URL_FILE") {
        Some(path) => url_from_file(path.into()),
        None if may_be_missing => Ok(SecretString::from("")),
        None => usage("no database: set DATABASE_URL, e.g. postgres://user:password@localhost:5432/logins"),
    }
}

fn url_from_file(path: PathBuf) -> anyhow::Result<SecretString> {
    let content = std::fs::read_to_string(&path)
        .map(Zeroizing::new)
        .with_context(|| format!("reading PII_VAULT_DATABASE_URL_FILE ({})", path.display()))?;
    let url = SecretString::from(content.trim());
    if url.expose_secret().is_empty() {
        anyhow::bail!("PII_VAULT_DATABASE_URL_FILE ({}) is empty", path.display());
    }
    Ok(url)
}

/// Set and not empty.
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

fn usage_error(error: crate::db::ConnectError) -> UsageError {
    UsageError(error.to_string())
}
