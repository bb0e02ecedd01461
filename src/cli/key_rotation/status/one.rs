use std::fmt;

use serde::Serialize;

use super::shown::{Shown, time};
use crate::cli::table::Table;
use crate::db::rotation::{self, Job, PassedOver, Position, Told};
use crate::db::{Connection, DbError};

/// One rotation, with its history and a page of what it passed over.
#[derive(Serialize)]
pub(super) struct One {
    #[serde(flatten)]
    rotation: Shown,
    history: Vec<Step>,
    passed_over: Vec<Failure>,
    /// For `--after`, where there is more.
    next_after: Option<String>,
}

/// An entry of the audit log.
#[derive(Serialize)]
struct Step {
    seq: i64,
    at: String,
    actor: String,
    step: Option<String>,
    reason: Option<String>,
}

#[derive(Serialize)]
struct Failure {
    day: String,
    id: String,
    key: String,
    why: &'static str,
    at: String,
}

impl One {
    pub(super) async fn read(
        conn: &mut Connection,
        job: Job,
        after: Option<Position>,
        most: u32,
    ) -> Result<Self, DbError> {
        let history = rotation::history(conn, job.id).await?;
        // One more than is shown tells whether there is more.
        let mut passed_over = rotation::passed_over(conn, job.id, after, most.saturating_add(1)).await?;
        let shown = usize::try_from(most).unwrap_or(usize::MAX);
        let has_more = passed_over.len() > shown;
        passed_over.truncate(shown);
        let last = passed_over.last().filter(|_| has_more);
        Ok(Self {
            rotation: Shown::of(job, &history),
            next_after: last.map(|last| format!("{}/{}", last.day, last.id)),
            history: history.into_iter().map(Step::from).collect(),
            passed_over: passed_over.into_iter().map(Failure::from).collect(),
        })
    }
}

impl From<Told> for Step {
    fn from(told: Told) -> Self {
        Self { seq: told.seq, at: time(told.at), actor: told.actor, step: told.step, reason: told.reason }
    }
}

impl From<PassedOver> for Failure {
    fn from(row: PassedOver) -> Self {
        Self {
            day: row.day.to_string(),
            id: row.id.to_string(),
            key: row.key_id.to_string(),
            why: row.why.name(),
            at: time(row.noted_at),
        }
    }
}

impl fmt::Display for One {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |text: &Option<String>| text.clone().unwrap_or("-".to_owned());
        writeln!(f, "{}", self.rotation)?;
        let mut history = Table::new(["ENTRY", "AT", "STEP", "BY", "REASON"]);
        for step in &self.history {
            let (seq, at, actor) = (step.seq.to_string(), step.at.clone(), step.actor.clone());
            history.add([seq, at, or(&step.step), actor, or(&step.reason)]);
        }
        writeln!(f, "{history}")?;
        if self.passed_over.is_empty() {
            return writeln!(f, "nothing was passed over");
        }
        let mut failures = Table::new(["DAY", "ID", "KEY", "WHY", "AT"]);
        for row in &self.passed_over {
            failures.add([row.day.clone(), row.id.clone(), row.key.clone(), row.why.to_owned(), row.at.clone()]);
        }
        write!(f, "{failures}")?;
        if let Some(after) = &self.next_after {
            writeln!(f, "there is more: --after {after}")?;
        }
        Ok(())
    }
}
