use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::aws::{QueueSettings, Sqs, client};
use crate::cli::config::{UsageError, duration, usage, variable};

/// How long received messages stay hidden where nobody says so: SQS's own default.
const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(clap::Args, Debug)]
pub(super) struct QueueArgs {
    /// The SQS queue [env: PII_VAULT_QUEUE_URL]
    #[arg(long, value_name = "URL", value_parser = NonEmptyStringValueParser::new())]
    queue_url: Option<String>,
    /// How long received messages stay hidden from other receivers, renewed at half of it; the queue's own setting if
    /// not given [env: PII_VAULT_VISIBILITY_TIMEOUT]
    #[arg(long, value_name = "DURATION", value_parser = visibility_timeout)]
    visibility_timeout: Option<Duration>,
}

/// A queue that was named, not called yet.
pub(super) struct NamedQueue {
    url: String,
    visibility_timeout: Option<Duration>,
}

impl QueueArgs {
    pub(super) fn named(self) -> anyhow::Result<NamedQueue> {
        let Some(url) = self.queue_url.or_else(|| variable("PII_VAULT_QUEUE_URL")) else {
            return usage("no queue: set PII_VAULT_QUEUE_URL or --queue-url, or read a file with --input");
        };
        let visibility_timeout = match (self.visibility_timeout, variable("PII_VAULT_VISIBILITY_TIMEOUT")) {
            (Some(timeout), _) => Some(timeout),
            (None, Some(text)) => Some(
                visibility_timeout(&text)
                    .map_err(|error| UsageError(format!("PII_VAULT_VISIBILITY_TIMEOUT: {error}")))?,
            ),
            (None, None) => None,
        };
        Ok(NamedQueue { url, visibility_timeout })
    }
}

impl NamedQueue {
    /// Reads the queue's settings, where that is allowed, and warns of those that may lose messages.
    pub(super) async fn open(self, config: &client::Config, stop: &CancellationToken) -> Sqs {
        let settings = match stop.run_until_cancelled(Sqs::settings(config, &self.url)).await {
            // Told to stop: nothing will be received.
            None => QueueSettings::default(),
            Some(Ok(settings)) => {
                let in_force = QueueSettings {
                    visibility_timeout: self.visibility_timeout.or(settings.visibility_timeout),
                    ..settings
                };
                for finding in in_force.findings() {
                    warn!("queue: {finding}");
                }
                in_force
            }
            Some(Err(error)) => {
                info!(%error, "the queue's settings are not checked");
                QueueSettings { visibility_timeout: self.visibility_timeout, ..QueueSettings::default() }
            }
        };
        // A queue may say 0: nothing would stay hidden.
        let timeout = settings.visibility_timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(VISIBILITY_TIMEOUT);
        Sqs::new(config, self.url, timeout)
    }
}

fn visibility_timeout(text: &str) -> Result<Duration, &'static str> {
    let timeout = duration(text)?;
    let longest = Duration::from_secs(12 * 60 * 60);
    if (Duration::from_secs(1)..=longest).contains(&timeout) {
        Ok(timeout)
    } else {
        Err("a visibility timeout is 1s to 12h")
    }
}
