//! Where PostgreSQL is, and who logs in. A flag goes before its variable, and what the URL says before both.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::config::UsageError;
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
}

impl DatabaseArgs {
    /// Nothing is connected to yet, neither PostgreSQL nor AWS.
    pub(super) fn server(&self) -> anyhow::Result<Server> {
        let beside = Beside {
            mode: variable("PGSSLMODE").map(|mode| mode.to_string_lossy().parse()).transpose().map_err(usage_error)?,
            roots: self.database_ca.clone().map(Roots::from),
            default_roots: variable("PGSSLROOTCERT").map(|path| Roots::from(PathBuf::from(path))),
            login: password(),
        };
        let url = match &self.database_url {
            Some(url) => url.clone(),
            None => url_from_environment()?,
        };
        let server = Server::new(&url, beside).map_err(usage_error)?;
        if server.has_password() && self.database_url.is_some() {
            return usage(
                "--database-url holds a password, which every user of this machine can read in the process list; \
                 put the URL into DATABASE_URL or a file named by PII_VAULT_DATABASE_URL_FILE",
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

fn url_from_environment() -> anyhow::Result<SecretString> {
    if let Some(url) = variable("DATABASE_URL") {
        return match url.into_string() {
            Ok(url) => Ok(url.into()),
            Err(_) => usage("DATABASE_URL is not UTF-8"),
        };
    }
    match variable("PII_VAULT_DATABASE_URL_FILE") {
        Some(path) => url_from_file(path.into()),
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

fn usage<T>(sentence: &str) -> anyhow::Result<T> {
    Err(UsageError(sentence.to_owned()).into())
}

fn usage_error(error: crate::db::ConnectError) -> UsageError {
    UsageError(error.to_string())
}
