use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;

use super::input::{Input, InputArgs};
use super::queue::{NamedQueue, QueueArgs};
use super::summary::Shown;
use crate::aws::{Kms, KmsKeys, client};
use crate::cli::config::{DatabaseArgs, KmsArgs, UsageError, bytes, count, duration};
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::cli::progress;
use crate::cli::signals::stop_on_signal;
use crate::db::Role;
use crate::etl::{self, Counters, LEAST_INFLIGHT_BYTES, Options};
use crate::keyring::KeyLimits;

const EXAMPLES: &str = "\
The login needs the role pii_vault_ingest. The AWS identity needs sqs:ReceiveMessage,
sqs:DeleteMessage and sqs:ChangeMessageVisibility on the queue (sqs:GetQueueAttributes as well, to
check its settings), kms:GenerateDataKey on the data and dead-letter keys, and kms:Decrypt on the
token key. Any number of processes may drain one queue.

SIGTERM or SIGINT: finishes what is in flight within 25 s and exits 0, or 1 before the end of a
file; a second one exits at once. Nothing is lost either way.

A line of a file is known by --date, --source and its number: to read it again adds nothing, as long
as these three are the same and lines before it were neither added nor removed. Two files of one day
need two names; of one name, the second would count as already stored. Blank lines are passed over.

Examples:
  pii-vault etl run --queue-url https://sqs.eu-central-1.amazonaws.com/123456789012/logins
  pii-vault etl run --drain --output json     for cron: until the queue stays empty for one poll
  pii-vault etl run --max-messages 1000       a first careful try
  pii-vault etl run --input logins-2025-03-09.jsonl.gz --date 2025-03-09
  zstdcat old.zst | pii-vault etl run --input - --source old --date 2025-03-09";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    queue: QueueArgs,
    /// Stop once the queue stays empty for one long poll
    #[arg(long)]
    drain: bool,
    /// Stop after N messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_messages: Option<u64>,
    #[command(flatten)]
    input: InputArgs,
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
    /// Concurrent receive calls, ten messages each; of a file, tasks that parse and seal
    #[arg(long, value_name = "N", default_value = "8", value_parser = count::<256>)]
    receivers: NonZeroUsize,
    /// Concurrent transactions
    #[arg(long, value_name = "N", default_value = "2", value_parser = count::<64>)]
    writers: NonZeroUsize,
    /// About how many rows one transaction has at the most
    #[arg(long, value_name = "N", default_value = "500", value_parser = count::<10_000>)]
    batch_size: NonZeroUsize,
    /// How long a batch waits to fill
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = linger)]
    linger: Duration,
    /// How many bytes of message bodies may be in flight: at least 10MiB
    #[arg(long, value_name = "SIZE", default_value = "128MiB", value_parser = inflight_bytes)]
    max_inflight_bytes: usize,
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
    let options = args.tuning.options(args.drain, args.max_messages)?;
    let server = args.database.server()?;
    let source = match args.input.open()? {
        Some(input) => Source::File(input),
        None => Source::Queue(args.queue.named()?),
    };
    let config = client::load().await;
    let kms = Kms::new(&config, KmsKeys::from(args.kms));
    // A connection for each writer, and two for keys and partitions.
    let connections = u32::try_from(options.writers.get()).unwrap_or(u32::MAX).saturating_add(2);
    let pool = server.pool(Role::Ingest, connections).await?;

    let stop = stop_on_signal()?;
    let counters = Arc::new(Counters::default());
    // The summary comes whatever happened: it says what was done before a fault. The fault is the greater news where
    // neither can be written.
    match source {
        Source::Queue(queue) => {
            let queue = queue.open(&config, &stop).await;
            let shown = show_progress(counters.clone(), || ());
            let result = beside(shown, etl::run(queue, kms, pool, options, counters.clone(), stop)).await;
            let summary = Shown::of_queue(counters.summary());
            let written = output::result(format, &summary, &summary);
            result.context("etl run stopped; nothing is lost, what was not stored is still in the queue")?;
            written?;
        }
        Source::File(Input { file, size, read }) => {
            let lines = file.progress();
            if let Some(size) = size {
                progress::bar(size);
            }
            let shown = show_progress(counters.clone(), || progress::line().set_position(read.load(Ordering::Relaxed)));
            let result = beside(shown, etl::run_file(file, kms, pool, options, counters.clone(), stop)).await;
            let summary = Shown::of_file(counters.summary(), &lines);
            let written = output::result(format, &summary, &summary);
            result.with_context(|| {
                let next = lines.next();
                format!(
                    "etl run stopped; all before line {next} is stored. Go on with --from-line {next}, or read it all \
                     again, which adds nothing twice"
                )
            })?;
            written?;
        }
    }
    Ok(ExitStatus::Done)
}

enum Source {
    Queue(NamedQueue),
    File(Input),
}

impl Tuning {
    fn options(self, drain: bool, max_messages: Option<u64>) -> Result<Options, UsageError> {
        let key_limits = KeyLimits::new(self.data_key_lifetime, self.data_key_values)
            .map_err(|error| UsageError(error.to_string()))?;
        Ok(Options {
            receivers: self.receivers,
            writers: self.writers,
            batch_size: self.batch_size,
            linger: self.linger,
            max_inflight_bytes: self.max_inflight_bytes,
            wait: self.wait,
            drain,
            max_messages,
            patience: self.patience,
            key_limits,
        })
    }
}

/// What `run` gives, with the line kept up to date meanwhile.
async fn beside<T>(shown: impl Future<Output = ()>, run: impl Future<Output = T>) -> T {
    let result = tokio::select! {
        result = run => result,
        () = shown => std::future::pending().await,
    };
    progress::line().finish_and_clear();
    result
}

async fn show_progress(counters: Arc<Counters>, update: impl Fn()) {
    let line = progress::line();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tick.tick().await;
        let now = counters.summary();
        let dead: u64 = now.dead_letters.values().sum();
        line.set_message(format!(
            "{} received, {} stored, {} already stored, {dead} dead letters, {:.0}/s",
            now.received, now.stored, now.already_stored, now.rate
        ));
        update();
        line.tick();
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

fn inflight_bytes(text: &str) -> Result<usize, String> {
    bytes(text, LEAST_INFLIGHT_BYTES)
}
