//! Settings that several commands share. A flag goes before its variable.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

pub(super) use super::database::DatabaseArgs;
use crate::aws::KmsKeys;

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
