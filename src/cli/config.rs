//! Settings that several commands share. A flag goes before its variable.

use std::env;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use bytesize::ByteSize;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;

pub(super) use super::database::DatabaseArgs;
use crate::aws::KmsKeys;
use crate::crypto::checkpoint::CheckpointKey;
use crate::domain::Field;

/// The command line is to blame: exit status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UsageError(pub(super) String);

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

/// What verifies checkpoints.
#[derive(Args, Debug)]
pub(super) struct CheckpointKeyArgs {
    /// The public key (PEM) that verifies the checkpoint which covers the record
    #[arg(long, value_name = "FILE", env = "PII_VAULT_CHECKPOINT_PUBLIC_KEY", hide_env_values = true)]
    checkpoint_public_key: Option<PathBuf>,
}

impl CheckpointKeyArgs {
    /// `None`: none is given.
    pub(super) fn key(&self) -> anyhow::Result<Option<CheckpointKey>> {
        self.checkpoint_public_key.as_deref().map(checkpoint_key).transpose()
    }
}

/// Reads the public key of checkpoints.
pub(super) fn checkpoint_key(path: &Path) -> anyhow::Result<CheckpointKey> {
    let told = || format!("the public key of checkpoints, {}", path.display());
    let pem = std::fs::read_to_string(path).with_context(told)?;
    CheckpointKey::from_pem(&pem).with_context(told)
}

/// `90`, `90s`, `2m`, `1h 30m`: bare numbers are seconds.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    humantime::parse_duration(text).map_err(|_| "a duration is a number of seconds, or like 90s, 5m, 24h")
}

/// Why, for the audit log.
pub(super) fn reason(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() || text.chars().count() > 1000 {
        return Err("a reason is 1 to 1000 characters, and not only spaces");
    }
    Ok(text.to_owned())
}

/// A field that is stored sealed.
pub(super) fn field(name: &str) -> Result<Field, &'static str> {
    Field::ALL.into_iter().find(|field| field.name() == name).ok_or("the fields are ip and device_id")
}

/// A count from 1 to `MAX`.
pub(super) fn count<const MAX: usize>(text: &str) -> Result<NonZeroUsize, String> {
    text.parse()
        .ok()
        .filter(|count: &NonZeroUsize| count.get() <= MAX)
        .ok_or_else(|| format!("a whole number from 1 to {MAX}"))
}

/// `64MiB`, `100MB`, `67108864`: bytes, `least` or more.
pub(super) fn bytes(text: &str, least: usize) -> Result<usize, String> {
    text.parse::<ByteSize>()
        .ok()
        .and_then(|size| usize::try_from(size.as_u64()).ok())
        .filter(|bytes| *bytes >= least)
        .ok_or_else(|| format!("a size in bytes like 64MiB, 100MB or 67108864; at least {least}"))
}

/// The variable `name`, where it is set and not empty. For flags that are refused beside others: clap takes a variable
/// for the flag.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

pub(super) fn usage<T>(sentence: &str) -> anyhow::Result<T> {
    Err(UsageError(sentence.to_owned()).into())
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

    #[test]
    fn sizes_read_as_people_write_them() {
        assert_eq!(bytes("64MiB", 1), Ok(64 << 20));
        assert_eq!(bytes("64 MiB", 1), Ok(64 << 20));
        assert_eq!(bytes("67108864", 1), Ok(64 << 20));
        assert_eq!(bytes("100MB", 1), Ok(100_000_000));
        assert_eq!(bytes("10", 10), Ok(10));
        for wrong in ["9", "much", "-1", "", "99999999999999999999"] {
            assert!(bytes(wrong, 10).is_err(), "{wrong}");
        }
    }
}
