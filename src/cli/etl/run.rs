use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::builder::NonEmptyStringValueParser;

use crate::aws::{Kms, KmsKeys, Sqs, client};
use crate::cli::config::{DatabaseArgs, KmsArgs, UsageError, count, duration};
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::cli::progress;
use crate::cli::signals::stop_on_signal;
use crate::db::Role;
use crate::etl::{self, Counters, Options, Summary};
use crate::keyring::KeyLimits;

const EXAMPLES: &str = "\
The login needs the role pii_vault_ingest. The AWS identity needs sqs:ReceiveMessage and
sqs:DeleteMessage on the queue, kms:GenerateDataKey on the data and dead-letter keys, and
kms:Decrypt on the token key. Any number of processes may drain one queue.

SIGTERM or SIGINT: finishes what is in flight within 25 s and exits 0; a second one exits at once.
Nothing is lost either way.

Examples:
  pii-vault etl run --queue-url https://sqs.eu-central-1.amazonaws.com/123456789012/logins
  pii-vault etl run --drain --output json     for cron: until the queue stays empty for one poll
  pii-vault etl run --max-messages 1000       a first careful try";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// The SQS queue
    #[arg(long, value_name = "URL", env = "PII_VAULT_QUEUE_URL", hide_env_values = true, value_parser = NonEmptyStringValueParser::new())]
    queue_url: String,
    /// Stop once the queue stays empty for one long poll
    #[arg(long)]
    drain: bool,
    /// Stop after N messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_messages: Option<u64>,
    /// How long received messages stay hidden from other receivers; the queue's own setting if not given
    #[arg(long, value_name = "DURATION", env = "PII_VAULT_VISIBILITY_TIMEOUT", hide_env_values = true, value_parser = visibility_timeout)]
    visibility_timeout: Option<Duration>,
    #[command(flatten)]
    tuning: Tuning,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    kms: KmsArgs,
}

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Tuning")]
struct Tuning {
    /// Concurrent receive calls, ten messages each
    #[arg(long, value_name = "N", default_value = "8", value_parser = count::<256>)]
    receivers: NonZeroUsize,
    /// Concurrent transactions
    #[arg(long, value_name = "N", default_value = "2", value_parser = count::<64>)]
    writers: NonZeroUsize,
    /// The most rows of one transaction
    #[arg(long, value_name = "N", default_value = "500", value_parser = count::<10_000>)]
    batch_size: NonZeroUsize,
    /// How long a batch waits to fill
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = linger)]
    linger: Duration,
    /// How long a poll waits for a first message: 20s at most
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = long_poll)]
    wait: Duration,
    /// How long SQS, KMS or PostgreSQL may be away before the run gives up
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    patience: Duration,
    /// How long a data key is used: 1m to 7d
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    data_key_lifetime: Duration,
    /// How many values a data key seals: below 2^32
    #[arg(long, value_name = "N", default_value = "16777216")]
    data_key_values: u64,
}

pub(in crate::cli) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let options = args.options()?;
    let server = args.database.server()?;
    let config = client::load().await;
    let queue = Sqs::new(&config, args.queue_url, args.visibility_timeout);
    let kms = Kms::new(&config, KmsKeys::from(args.kms));
    // A connection for each writer, and two for keys and partitions.
    let connections = u32::try_from(options.writers.get()).unwrap_or(u32::MAX).saturating_add(2);
    let pool = server.pool(Role::Ingest, connections).await?;

    let stop = stop_on_signal()?;
    let counters = Arc::new(Counters::default());
    let shown = tokio::spawn(show_progress(counters.clone()));
    let result = etl::run(queue, kms, pool, options, counters.clone(), stop).await;
    shown.abort();
    progress::start().finish_and_clear();

    // The summary comes whatever happened: it says what was done before a fault. The fault is the greater news where
    // neither can be written.
    let summary = Shown(counters.summary());
    let written = output::result(format, &summary, &summary.0);
    result.context("etl run stopped; nothing is lost, what was not stored is still in the queue")?;
    written?;
    Ok(ExitStatus::Done)
}

impl Args {
    fn options(&self) -> Result<Options, UsageError> {
        let key_limits = KeyLimits::new(self.tuning.data_key_lifetime, self.tuning.data_key_values)
            .map_err(|error| UsageError(error.to_string()))?;
        Ok(Options {
            receivers: self.tuning.receivers,
            writers: self.tuning.writers,
            batch_size: self.tuning.batch_size,
            linger: self.tuning.linger,
            wait: self.tuning.wait,
            drain: self.drain,
            max_messages: self.max_messages,
            patience: self.tuning.patience,
            key_limits,
        })
    }
}

async fn show_progress(counters: Arc<Counters>) {
    let line = progress::start();
    let mut tick = tokio::time::interval(Duration::from_secs(2));
    loop {
        tick.tick().await;
        let now = counters.summary();
        let dead: u64 = now.dead_letters.values().sum();
        line.set_message(format!(
            "{} received, {} stored, {} already stored, {dead} dead letters, {:.0}/s",
            now.received, now.stored, now.already_stored, now.rate
        ));
        line.tick();
    }
}

struct Shown(Summary);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(summary) = self;
        writeln!(f, "received          {}", summary.received)?;
        writeln!(f, "stored            {}", summary.stored)?;
        writeln!(f, "already stored    {}", summary.already_stored)?;
        writeln!(f, "dead letters      {}", summary.dead_letters.values().sum::<u64>())?;
        for (reason, count) in &summary.dead_letters {
            writeln!(f, "  {reason:<16}{count}")?;
        }
        if summary.left_in_queue > 0 {
            writeln!(f, "left in queue     {}", summary.left_in_queue)?;
        }
        writeln!(f, "deleted           {}", summary.deleted)?;
        if summary.undeleted > 0 {
            writeln!(f, "not deleted       {}", summary.undeleted)?;
        }
        writeln!(f, "{:.1} s, {:.0} messages/s", summary.seconds, summary.rate)
    }
}

fn linger(text: &str) -> Result<Duration, &'static str> {
    let linger = duration(text)?;
    if linger <= Duration::from_secs(60) { Ok(linger) } else { Err("a batch waits for 60s at most") }
}

fn long_poll(text: &str) -> Result<Duration, &'static str> {
    let wait = duration(text)?;
    // SQS counts whole seconds; zero would be a hot loop of short polls, each of them paid for.
    if (Duration::from_secs(1)..=client::LONGEST_POLL).contains(&wait) {
        Ok(wait)
    } else {
        Err("a poll waits 1s to 20s")
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
