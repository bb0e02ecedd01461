use std::fmt;

use serde::Serialize;

use crate::cli::refusal::Refused;
use crate::unmask::{Ending, Failed, Last, Report};

/// What is said at the end.
#[derive(Serialize)]
pub(super) struct Summary<'a> {
    #[serde(flatten)]
    report: &'a Report,
    dry_run: bool,
    stopped: bool,
    #[serde(flatten)]
    cut_off: Option<Refused>,
}

impl<'a> Summary<'a> {
    /// `ending` is `None` of a run that failed.
    pub(super) fn new(report: &'a Report, ending: Option<Ending>, dry_run: bool) -> Self {
        let cut_off = match ending {
            Some(Ending::CutOff(refusal)) => Some(refusal.into()),
            _ => None,
        };
        Self { report, dry_run, stopped: ending == Some(Ending::Stopped), cut_off }
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { report, dry_run, stopped, cut_off } = self;
        let Some((receipt, seq)) = report.receipt.as_ref().zip(report.audit_seq) else { return Ok(()) };
        writeln!(f, "receipt         {receipt}")?;
        writeln!(f, "recorded as     entry {seq} of the audit log")?;
        let charged = if *dry_run { "would charge    " } else { "charged to      " };
        match &report.grant {
            Some(grant) => writeln!(f, "{charged}grant {grant}")?,
            None => writeln!(f, "{charged}what you may open alone")?,
        }
        writeln!(f, "rows            {}", report.rows)?;
        writeln!(f, "values          {}", report.values)?;
        if *dry_run {
            return writeln!(f, "a dry run: nothing was opened, nothing is charged");
        }
        writeln!(f, "opened          {}", report.opened)?;
        if report.released != report.opened {
            writeln!(f, "written         {}, of those that are recorded as opened", report.released)?;
        }
        if report.did_not_open > 0 {
            writeln!(f, "did not open    {}", report.did_not_open)?;
            report.failed.iter().try_for_each(|row| failed(f, row))?;
        }
        if let (true, Some(last)) = (cut_off.is_some() || *stopped, &report.last) {
            let Last { create_date, event_id } = last;
            writeln!(f, "last written    {create_date} {event_id}; go on with --since {create_date}")?;
        }
        if *stopped {
            writeln!(f, "stopped after {} of {} rows", report.released, report.rows)?;
        }
        if let Some(refused) = cut_off {
            writeln!(f, "cut off after {} of {} rows\n{refused}", report.released, report.rows)?;
        }
        Ok(())
    }
}

fn failed(f: &mut fmt::Formatter<'_>, row: &Failed) -> fmt::Result {
    match (&row.event_id, &row.create_date) {
        (Some(event), Some(day)) => writeln!(f, "  {event}  {day}  {}", row.reason),
        _ => writeln!(f, "  row {} of the list, which the audit log names  {}", row.row, row.reason),
    }
}
