//! What `run` of each kind has in common: its flags, its bar, its summary.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::ProgressBar;
use serde::Serialize;
use uuid::Uuid;

use crate::audit::so_many;
use crate::cli::config::{count, duration};
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::cli::progress;
use crate::cli::refusal::Refused;
use crate::cli::signals::stop_on_signal;
use crate::db::Pool;
use crate::db::rotation::{Counts, Job};
use crate::domain::{RotationKind, RotationStep};
use crate::key_rotation::{self, Ending, Options, RotationError, Worker};
use crate::patience::Patience;

/// How fast, and how patiently.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Speed")]
pub(super) struct PaceArgs {
    /// At most so many a second, e.g. 500/s
    #[arg(long, value_name = "N/s", value_parser = rate)]
    rate: Option<NonZeroU32>,
    /// So many in one transaction
    // Rows that came together lie together, and are worked on together; the space of their old versions is free once
    // the transaction is over. Where a day has 20,000 rows, pages of 500 make the table larger by half, those of 100
    // by 8 %.
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    batch: i32,
    /// So many transactions at once
    #[arg(long, value_name = "N", default_value = "2", value_parser = count::<64>)]
    workers: std::num::NonZeroUsize,
    /// How long KMS or PostgreSQL may be away before the run gives up
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub(super) patience: Duration,
}

impl PaceArgs {
    pub(super) fn options(&self) -> Options {
        Options { batch: self.batch, workers: self.workers.get(), rate: self.rate, patience: Patience(self.patience) }
    }

    /// A connection for each worker, and one to spare.
    pub(super) fn connections(&self) -> u32 {
        u32::try_from(self.workers.get()).unwrap_or(u32::MAX).saturating_add(1)
    }
}

/// Runs a recorded job until it ends, with a bar, and says how it ended. `things` are what is counted.
pub(super) async fn drive<W: Worker>(
    pool: &Pool,
    job: Uuid,
    worker: W,
    options: Options,
    things: &'static str,
    format: OutputFormat,
) -> anyhow::Result<ExitStatus> {
    let stop = stop_on_signal()?;
    let began = Instant::now();
    let line = progress::count(0, things);
    let ended =
        key_rotation::run(pool, job, worker, options, &stop, showing(line, |counts| counts.changed + counts.failed))
            .await;
    line.finish_and_clear();
    match ended {
        Ok((ending, counts)) => {
            let summary = Summary::new(job, ending, counts, things, began.elapsed());
            output::result(format, &summary, &summary)?;
            Ok(match ending {
                Ending::Reached(RotationStep::Abandoned) => ExitStatus::Refused,
                _ if counts.failed > 0 => ExitStatus::IntegrityBroken,
                _ => ExitStatus::Done,
            })
        }
        Err(error) => refused_or(error, "the rotation stopped; what is done stays done, run it again to go on", format),
    }
}

/// Of a rotation that is not finished: refuses keys by name that it does not leave. It goes on as it was recorded,
/// which is said where `more` is asked for than is named.
pub(super) fn going_on(job: &Job, named: &[Uuid], more: bool) -> Result<(), Refused> {
    if let Some(key) = named.iter().find(|key| !job.old_keys.contains(key)) {
        return Err(Refused::new(
            "rotation_unfinished",
            format!("rotation {} is not finished, and was not begun for key {key}", job.id),
            "run it to its end first, by the same command without --key; key-rotation status shows how far it is",
        ));
    }
    if more {
        let keys = match job.kind {
            RotationKind::Kek => so_many(job.total, "key"),
            RotationKind::DataKey | RotationKind::TokenKey => {
                so_many(i128::try_from(job.old_keys.len()).unwrap_or(i128::MAX), "key")
            }
        };
        output::complain(&format!(
            "goes on with rotation {}, which is not finished: it covers {keys}, and others need another run after it",
            job.id
        ));
    }
    Ok(())
}

/// Shows how far a job is, and how fast: what earlier runs did is no part of the speed.
pub(super) fn showing(
    line: &'static ProgressBar,
    done: impl Fn(&Counts) -> u64 + Send + Sync + 'static,
) -> impl Fn(Counts) + Send + Sync + 'static {
    let has_begun = AtomicBool::new(false);
    move |counts| {
        let done = done(&counts);
        line.set_length(counts.total.max(done));
        line.set_position(done);
        if !has_begun.swap(true, Ordering::Relaxed) {
            line.reset_eta();
        }
        line.set_message(format!("{:.0}/s", line.per_sec()));
    }
}

/// Tells a refusal and returns its exit status; other errors go on.
pub(super) fn refused_or(
    error: RotationError,
    context: &'static str,
    format: OutputFormat,
) -> anyhow::Result<ExitStatus> {
    match error.refusal() {
        Some(refusal) => Refused::from(refusal).tell(format),
        None => Err(error).context(context),
    }
}

#[derive(Serialize)]
struct Summary {
    job: Uuid,
    ended: &'static str,
    total: u64,
    changed: u64,
    failed: u64,
    seconds: f64,
    #[serde(skip)]
    things: &'static str,
}

impl Summary {
    fn new(job: Uuid, ending: Ending, counts: Counts, things: &'static str, took: Duration) -> Self {
        let ended = match ending {
            Ending::Reached(RotationStep::Filled) => "filled",
            Ending::Reached(RotationStep::CutOver) => "cut over",
            Ending::Reached(RotationStep::Abandoned) => "abandoned",
            Ending::Reached(_) => "done",
            Ending::Paused => "paused",
            Ending::Stopped => "stopped",
        };
        let Counts { total, changed, failed } = counts;
        Self { job, ended, total, changed, failed, seconds: took.as_secs_f64(), things }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, ended, total, changed, failed, things, seconds } = self;
        writeln!(f, "{ended:<18}{changed} of {total} {things} changed, {seconds:.1} s")?;
        if *failed > 0 {
            writeln!(f, "passed over       {failed}: pii-vault key-rotation status --job {job} lists them")?;
        }
        writeln!(f, "job               {job}")?;
        if matches!(*ended, "paused" | "stopped") {
            writeln!(f, "next              run the same command again to go on")?;
        }
        if *ended == "abandoned" {
            writeln!(f, "next              pii-vault key-rotation status --job {job} says who gave it up, and why")?;
        }
        if *ended == "filled" {
            writeln!(f, "next              pii-vault key-rotation token-key verify, then token-key cut-over")?;
        }
        Ok(())
    }
}

/// `500` or `500/s`.
pub(super) fn rate(text: &str) -> Result<NonZeroU32, &'static str> {
    text.strip_suffix("/s").unwrap_or(text).parse().map_err(|_| "a rate is a whole number from 1, like 500 or 500/s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_earlier_runs_did_is_no_part_of_the_speed() {
        let line: &'static ProgressBar = Box::leak(Box::new(ProgressBar::hidden()));
        let show = showing(line, |counts| counts.changed);
        let counts = |changed| Counts { total: 2_000_000, changed, failed: 0 };
        show(counts(1_000_000));
        std::thread::sleep(Duration::from_millis(100));
        show(counts(1_000_100));
        assert!(line.per_sec() < 1_500.0, "{}", line.per_sec());
    }
}
