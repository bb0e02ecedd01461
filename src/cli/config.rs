//! Settings that several commands share. A flag goes before its variable.

use std::env;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::aws::KmsKeys;
use crate::db::Server;

/// The command line is to blame: exit status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UsageError(pub(super) String);

/// Where PostgreSQL is.
#[derive(Args, Debug)]
#[command(next_help_heading = "Database")]
pub(super) struct DatabaseArgs {
    /// PostgreSQL, without a password: postgres://user@host:5432/database [env: DATABASE_URL, with a password, or
    /// PII_VAULT_DATABASE_URL_FILE, a file that holds the URL]
    #[arg(long, value_name = "URL")]
    database_url: Option<SecretString>,
}

/// The KMS keys.
#[derive(Args, Debug)]
#[command(next_help_heading = "KMS keys (alias, id or ARN)")]
pub(super) struct KmsArgs {
    /// Wraps data keys
    #[arg(long, value_name = "KEY", env = "PII_VAULT_DATA_KMS_KEY", hide_env_values = true, default_value = "alias/pii-vault-data",
          value_parser = NonEmptyStringValueParser::new())]
    data_kms_key: String,
    /// Wraps token keys
    #[arg(long, value_name = "KEY", env = "PII_VAULT_TOKEN_KMS_KEY", hide_env_values = true, default_value = "alias/pii-vault-token",
          value_parser = NonEmptyStringValueParser::new())]
    token_kms_key: String,
    /// Wraps dead-letter keys
    #[arg(long, value_name = "KEY", env = "PII_VAULT_DEAD_LETTER_KMS_KEY", hide_env_values = true,
          default_value = "alias/pii-vault-dead-letter", value_parser = NonEmptyStringValueParser::new())]
    dead_letter_kms_key: String,
    /// Signs checkpoints of the audit log
    #[arg(long, value_name = "KEY", env = "PII_VAULT_SIGNING_KMS_KEY", hide_env_values = true, default_value = "alias/pii-vault-signing",
          value_parser = NonEmptyStringValueParser::new())]
    signing_kms_key: String,
}

impl DatabaseArgs {
    /// The flag, else `DATABASE_URL`, else the file that `PII_VAULT_DATABASE_URL_FILE` names.
    pub(super) fn server(&self) -> anyhow::Result<Server> {
        if let Some(url) = &self.database_url {
            let server = parse(url)?;
            if server.has_password() {
                return usage(
                    "--database-url holds a password, which every user of this machine can read in the process list; \
                     put the URL into DATABASE_URL or a file named by PII_VAULT_DATABASE_URL_FILE",
                );
            }
            return Ok(server);
        }
        let url = match env::var("DATABASE_URL") {
            Ok(url) if !url.is_empty() => SecretString::from(url),
            _ => url_from_file()?,
        };
        parse(&url)
    }
}

impl From<KmsArgs> for KmsKeys {
    fn from(args: KmsArgs) -> Self {
        Self {
            data: args.data_kms_key,
            token: args.token_kms_key,
            dead_letter: args.dead_letter_kms_key,
            signing: args.signing_kms_key,
        }
    }
}

/// `90`, `90s`, `2m`, `1h 30m`: bare numbers are seconds.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    humantime::parse_duration(text).map_err(|_| "a duration is a number of seconds, or like 90s, 5m, 24h")
}

/// A count from 1 to `MAX`.
pub(super) fn count<const MAX: usize>(text: &str) -> Result<NonZeroUsize, String> {
    text.parse()
        .ok()
        .filter(|count: &NonZeroUsize| count.get() <= MAX)
        .ok_or_else(|| format!("a whole number from 1 to {MAX}"))
}

fn parse(url: &SecretString) -> anyhow::Result<Server> {
    Ok(Server::parse(url).map_err(|error| UsageError(error.to_string()))?)
}

fn usage<T>(sentence: &str) -> anyhow::Result<T> {
    Err(UsageError(sentence.to_owned()).into())
}

fn url_from_file() -> anyhow::Result<SecretString> {
    let Some(path) = env::var_os("PII_VAULT_DATABASE_URL_FILE").filter(|path| !path.is_empty()).map(PathBuf::from)
    else {
        return usage("no database: set DATABASE_URL, e.g. postgres://user:password@localhost:5432/logins");
    };
    let content = std::fs::read_to_string(&path)
        .map(Zeroizing::new)
        .with_context(|| format!("reading PII_VAULT_DATABASE_URL_FILE ({})", path.display()))?;
    let url = SecretString::from(content.trim());
    if url.expose_secret().is_empty() {
        anyhow::bail!("PII_VAULT_DATABASE_URL_FILE ({}) is empty", path.display());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("100ms"), Ok(Duration::from_millis(100)));
        assert!(duration("soon").is_err());
        assert!(duration("-1").is_err());
    }
}
