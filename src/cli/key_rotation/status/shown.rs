use std::fmt;

use serde::Serialize;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::cli::escaped::Escaped;
use crate::cli::key_rotation::plan::number;
use crate::db::rotation::{Job, Told};
use crate::domain::{RotationKind, RotationStep, TokenSlot};

/// A rotation, as it stands.
#[derive(Serialize)]
pub(super) struct Shown {
    job: String,
    kind: &'static str,
    purpose: &'static str,
    step: &'static str,
    paused: bool,
    rolled_back: bool,
    /// Of the step.
    percent: f64,
    total: i64,
    changed: i64,
    failed: i64,
    /// Rows or keys, while it was not paused; `None`: nothing was changed yet.
    rate_per_second: Option<f64>,
    /// `None`: nobody works on it, or there is no rate.
    eta_seconds: Option<f64>,
    runners: i64,
    began_at: String,
    began_by: String,
    reason: String,
    worked_at: Option<String>,
    ended_at: Option<String>,
    paused_at: Option<String>,
    paused_by: Option<String>,
    pause_reason: Option<String>,
    old_keys: usize,
    new_key: Option<String>,
    old_slot: Option<&'static str>,
    target_kms_key: Option<String>,
    /// A command that would go on with it.
    next: Option<String>,
    #[serde(skip)]
    things: &'static str,
    #[serde(skip)]
    is_work: bool,
}

impl Shown {
    pub(super) fn of(job: Job, history: &[Told]) -> Self {
        let pause = history.iter().rfind(|told| told.step.as_deref() == Some("pause")).filter(|_| job.paused);
        let at_work = at_work(history, job.worked_at).as_seconds_f64();
        let rate = (job.changed > 0 && at_work > 0.0).then(|| number(job.changed) / at_work);
        let is_working = job.step.is_work() || job.step == RotationStep::Abandoned;
        let left = (job.total - job.changed - job.failed).max(0);
        let goes_on = is_working && !job.paused && job.runners > 0;
        let next = next(&job);
        let percent = match (is_working, job.total) {
            (true, total) if total > 0 => (100.0 * number(job.changed + job.failed) / number(total)).min(100.0),
            _ => 100.0,
        };
        Self {
            job: job.id.to_string(),
            kind: job.kind.name(),
            purpose: job.purpose.name(),
            step: job.step.name(),
            paused: job.paused,
            rolled_back: job.rolled_back,
            percent,
            total: job.total,
            changed: job.changed,
            failed: job.failed,
            rate_per_second: rate,
            eta_seconds: rate.filter(|_| goes_on).map(|rate| number(left) / rate),
            runners: job.runners,
            began_at: time(job.recorded_at),
            began_by: job.actor,
            reason: job.reason,
            worked_at: job.worked_at.map(time),
            ended_at: job.ended_at.map(time),
            paused_at: pause.map(|told| time(told.at)),
            paused_by: pause.map(|told| told.actor.clone()),
            pause_reason: pause.and_then(|told| told.reason.clone()),
            old_keys: job.old_keys.len(),
            new_key: job.new_key.map(|key| key.to_string()),
            old_slot: job.old_slot.map(TokenSlot::name),
            target_kms_key: job.target_kms_key,
            next,
            things: if job.kind == RotationKind::Kek { "keys" } else { "rows" },
            is_work: job.step.is_work(),
        }
    }

    /// Of one that is done, on one line.
    pub(super) fn line(&self) -> String {
        let ended = self.ended_at.as_deref().unwrap_or("-");
        let back = if self.rolled_back { ", rolled back" } else { "" };
        format!(
            "{} {ended}  {} of {} keys{back}: {}, by {} (job {})",
            self.step,
            self.kind,
            self.purpose,
            self.counts(),
            Escaped(&self.began_by),
            self.job
        )
    }

    /// Its runners were killed, or none has begun: nobody paused it.
    fn is_left_alone(&self) -> bool {
        self.is_work && !self.paused && self.runners == 0
    }

    fn counts(&self) -> String {
        let failed = match self.failed {
            0 => String::new(),
            count => format!(", {count} passed over"),
        };
        format!("{} of {} {} changed{failed}", self.changed, self.total, self.things)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, kind, purpose, step, percent, runners, .. } = self;
        let back = if self.rolled_back { " (rolled back)" } else { "" };
        writeln!(f, "{kind} rotation of {purpose} keys{back}")?;
        writeln!(f, "  job       {job}")?;
        match (&self.paused_at, self.paused) {
            (Some(at), _) => {
                let by = self.paused_by.as_deref().unwrap_or("?");
                let why = self.pause_reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                writeln!(f, "  step      {step}, paused since {at} by {}{}", Escaped(by), Escaped(&why))?;
            }
            (None, true) => writeln!(f, "  step      {step}, paused")?,
            (None, false) if self.is_left_alone() => {
                writeln!(f, "  step      {step}, but nobody works on it: no runner was seen for a minute")?;
            }
            (None, false) => writeln!(f, "  step      {step}")?,
        }
        writeln!(f, "  progress  {percent:.1} %: {}", self.counts())?;
        if let Some(rate) = self.rate_per_second {
            let left = self.eta_seconds.map(|left| format!(", {} left", within(left))).unwrap_or_default();
            writeln!(f, "  rate      {rate:.1} {}/s{left}", self.things)?;
        }
        let seen = self.worked_at.as_ref().map(|at| format!("; last worked on {at}")).unwrap_or_default();
        writeln!(f, "  runners   {runners}{seen}")?;
        writeln!(f, "  begun     {} by {}: {}", self.began_at, Escaped(&self.began_by), Escaped(&self.reason))?;
        if let Some(target) = &self.target_kms_key {
            writeln!(f, "  to        {}", Escaped(target))?;
        }
        if let Some(key) = &self.new_key {
            writeln!(f, "  new key   {key}")?;
        }
        if let Some(ended) = &self.ended_at {
            writeln!(f, "  ended     {ended}")?;
        }
        if let Some(next) = &self.next {
            writeln!(f, "  next      {next}")?;
        }
        Ok(())
    }
}

/// How long it was neither paused nor waiting for somebody to decide, since what it counts began.
fn at_work(history: &[Told], worked_at: Option<OffsetDateTime>) -> Duration {
    let (mut sum, mut since) = (Duration::ZERO, None);
    for told in history {
        match told.step.as_deref() {
            Some("start" | "finish" | "roll_back") => (sum, since) = (Duration::ZERO, Some(told.at)),
            Some("resume" | "retry") => since = since.or(Some(told.at)),
            Some("pause" | "filled" | "done" | "abandoned") => {
                sum += since.take().map_or(Duration::ZERO, |since: OffsetDateTime| told.at - since);
            }
            _ => {}
        }
    }
    match (since, worked_at) {
        (Some(since), Some(worked_at)) => sum + (worked_at - since).max(Duration::ZERO),
        _ => sum,
    }
}

fn next(job: &Job) -> Option<String> {
    let command = format!("pii-vault key-rotation {}", job.kind.name());
    match job.step {
        RotationStep::Work if job.runners == 0 && job.kind == RotationKind::Kek => {
            Some(format!("{command} run --purpose {}", job.purpose.name()))
        }
        RotationStep::Work if job.runners == 0 => Some(format!("{command} run")),
        RotationStep::Filled => Some(format!("{command} verify, then {command} cut-over")),
        RotationStep::CutOver => Some(format!("{command} finish, or back: {command} rollback")),
        RotationStep::Emptying if job.runners == 0 => {
            Some(format!("{command} {}", if job.rolled_back { "rollback" } else { "finish" }))
        }
        RotationStep::Done if job.failed > 0 => Some(format!("pii-vault key-rotation status --job {}", job.id)),
        _ => None,
    }
}

/// RFC 3339; a time that has no such form is left out.
pub(super) fn time(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}

/// So long, in the unit that fits.
pub(in crate::cli::key_rotation) fn within(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 90.0 => format!("{:.0} s", seconds.max(0.0)),
        seconds if seconds < 5400.0 => format!("{:.0} min", seconds / 60.0),
        seconds if seconds < 172_800.0 => format!("{:.0} h", seconds / 3600.0),
        seconds => format!("{:.0} d", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(second: i64, step: &str) -> Told {
        let at = OffsetDateTime::from_unix_timestamp(second).unwrap();
        Told { seq: second, at, actor: "svc".to_owned(), step: Some(step.to_owned()), reason: None }
    }

    fn seconds(history: &[Told], worked_at: i64) -> i64 {
        at_work(history, OffsetDateTime::from_unix_timestamp(worked_at).ok()).whole_seconds()
    }

    #[test]
    fn pauses_do_not_count() {
        let mut history = vec![told(100, "start")];
        assert_eq!(seconds(&history, 130), 30);
        history.push(told(130, "pause"));
        assert_eq!(seconds(&history, 130), 30);
        history.push(told(500, "resume"));
        assert_eq!(seconds(&history, 130), 30, "nobody has worked on it since");
        assert_eq!(seconds(&history, 510), 40);
        history.extend([told(520, "filled"), told(900, "cut_over")]);
        assert_eq!(seconds(&history, 520), 50);
        history.push(told(1000, "finish"));
        assert_eq!(seconds(&history, 1007), 7);
        assert_eq!(seconds(&[], 1), 0);
    }

    #[test]
    fn a_span_has_the_unit_that_fits() {
        let spans = [0.4, 89.0, 90.0, 5399.0, 5400.0, 100_000.0, 172_800.0].map(within);
        assert_eq!(spans, ["0 s", "89 s", "2 min", "90 min", "2 h", "28 h", "2 d"]);
    }
}
