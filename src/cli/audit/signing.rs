//! What `audit notary` and `audit checkpoint` share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use tracing::{error, warn};

use crate::aws::client::{Config, LazyConfig};
use crate::aws::{Kms, KmsKeys, S3Folder};
use crate::cli::config::{DatabaseArgs, KmsArgs, checkpoint_key, duration};
use crate::cli::output;
use crate::db::Server;
use crate::notary::{Failing, NotaryError, Options, Sink};

#[derive(clap::Args, Debug)]
pub(super) struct SigningArgs {
    /// Where a copy of each checkpoint goes: a directory, s3://bucket/prefix, or - for standard output, a line each;
    /// can be repeated
    #[arg(long = "sink", value_name = "WHERE", value_parser = place)]
    sinks: Vec<Place>,
    /// What it means that a copy cannot be written: signing stops, or an error is logged and it goes on
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    on_sink_failure: OnSinkFailure,
    /// The public key (PEM), to verify what KMS signs and what is found in the database and in sinks
    #[arg(long, value_name = "FILE", env = "PII_VAULT_CHECKPOINT_PUBLIC_KEY", hide_env_values = true)]
    public_key: Option<PathBuf>,
    /// How long PostgreSQL, KMS or a sink may fail before the command gives up
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    patience: Duration,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    kms: KmsArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum OnSinkFailure {
    #[default]
    Stop,
    Alarm,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Directory(PathBuf),
    S3 { bucket: String, prefix: String },
    StandardOutput,
}

/// All that signing takes.
pub(super) struct Signing {
    pub(super) server: Server,
    pub(super) kms: Kms,
    pub(super) options: Options,
    /// Whether standard output is a sink, and takes nothing else.
    pub(super) is_collected: bool,
}

impl SigningArgs {
    pub(super) async fn ready(self, gap: Duration) -> anyhow::Result<Signing> {
        let server = self.database.server()?;
        let public_key = self.public_key.as_deref().map(checkpoint_key).transpose()?;
        let aws = LazyConfig::default();
        let aws = aws.get().await;
        let is_collected = self.sinks.contains(&Place::StandardOutput);
        if self.sinks.is_empty() {
            warn!(
                "no sink: who owns the database can alter the log and remove checkpoints, and no copy would show it; \
                 name one by --sink"
            );
        }
        let on_sink_failure = match self.on_sink_failure {
            OnSinkFailure::Stop => Failing::Stops,
            OnSinkFailure::Alarm => Failing::Alarms,
        };
        let sinks = sinks(self.sinks, aws);
        let options = Options { sinks, on_sink_failure, public_key, gap, patience: self.patience };
        Ok(Signing { server, kms: Kms::new(aws, KmsKeys::from(self.kms)), options, is_collected })
    }
}

/// What does not fit together is an alarm, for whoever watches the log of this process.
pub(super) fn alarmed(result: Result<(), NotaryError>) -> anyhow::Result<()> {
    if let Err(NotaryError::Broken(broken)) = &result {
        error!(%broken, "ALARM: audit log and checkpoints do not fit together; nothing is signed until this is cleared up");
    }
    Ok(result?)
}

pub(super) fn sinks(places: Vec<Place>, aws: &Config) -> Vec<Sink> {
    let sink = |place| match place {
        Place::Directory(path) => Sink::Directory(path),
        Place::S3 { bucket, prefix } => {
            let url = format!("s3://{bucket}/{prefix}");
            Sink::S3 { folder: S3Folder::new(aws, bucket, &prefix), url }
        }
        Place::StandardOutput => Sink::Lines(Arc::new(output::lines)),
    };
    places.into_iter().map(sink).collect()
}

pub(super) fn place(text: &str) -> Result<Place, &'static str> {
    const FORM: &str = "a sink is a directory, s3://bucket/prefix, or -";
    if text == "-" {
        return Ok(Place::StandardOutput);
    }
    match text.split_once("://") {
        None if text.is_empty() => Err(FORM),
        None => Ok(Place::Directory(text.into())),
        Some(("s3", rest)) => {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let prefix = prefix.trim_matches('/').to_owned();
            if bucket.is_empty() { Err(FORM) } else { Ok(Place::S3 { bucket: bucket.to_owned(), prefix }) }
        }
        Some(_) => Err(FORM),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sinks_read_as_people_write_them() {
        let s3 = |bucket: &str, prefix: &str| Ok(Place::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() });
        assert_eq!(place("-"), Ok(Place::StandardOutput));
        assert_eq!(place("/var/checkpoints"), Ok(Place::Directory("/var/checkpoints".into())));
        assert_eq!(place("s3://evidence"), s3("evidence", ""));
        assert_eq!(place("s3://evidence/logins/prod/"), s3("evidence", "logins/prod"));
        for wrong in ["", "s3://", "s3:///prefix", "gs://bucket", "https://bucket/prefix"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
