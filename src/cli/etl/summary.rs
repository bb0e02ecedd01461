use std::fmt;

use serde::Serialize;

use crate::etl::{LineProgress, Summary};

/// The summary of a run, as it is printed.
#[derive(Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    summary: Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<Lines>,
}

#[derive(Serialize)]
struct Lines {
    /// The first that was asked for.
    from: u64,
    /// All before this one are settled.
    next: u64,
    complete: bool,
}

impl Shown {
    pub(super) fn of_queue(summary: Summary) -> Self {
        Self { summary, lines: None }
    }

    pub(super) fn of_file(summary: Summary, progress: &LineProgress) -> Self {
        let lines = Lines { from: progress.from(), next: progress.next(), complete: progress.is_complete() };
        Self { summary, lines: Some(lines) }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { summary, lines } = self;
        let of_queue = lines.is_none();
        writeln!(f, "{:<18}{}", if of_queue { "received" } else { "read" }, summary.received)?;
        writeln!(f, "stored            {}", summary.stored)?;
        writeln!(f, "already stored    {}", summary.already_stored)?;
        writeln!(f, "dead letters      {}", summary.dead_letters.values().sum::<u64>())?;
        for (reason, count) in &summary.dead_letters {
            writeln!(f, "  {reason:<16}{count}")?;
        }
        if summary.left_in_queue > 0 {
            writeln!(f, "{:<18}{}", if of_queue { "left in queue" } else { "not stored" }, summary.left_in_queue)?;
        }
        if of_queue {
            writeln!(f, "deleted           {}", summary.deleted)?;
        }
        if summary.undeleted > 0 {
            writeln!(f, "not deleted       {}", summary.undeleted)?;
        }
        match lines {
            None => {}
            Some(Lines { complete: true, next, .. }) => writeln!(f, "lines             all {}", next - 1)?,
            Some(Lines { next, .. }) => writeln!(f, "lines             go on with --from-line {next}")?,
        }
        let what = if of_queue { "messages" } else { "lines" };
        writeln!(f, "{:.1} s, {:.0} {what}/s", summary.seconds, summary.rate)
    }
}
