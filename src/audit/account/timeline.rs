use serde::Serialize;
use uuid::Uuid;

use super::rotations;
use crate::domain::Field;
use crate::domain::audit::{Decision, Details, Entry, PolicySet, Selector, UnixMicros};

/// Something that was done or asked for, with what came of it later.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its entry of the log.
    pub seq: i64,
    /// When it was recorded.
    pub at: UnixMicros,
    /// The word of its action.
    pub action: String,
    /// Who did it.
    pub actor: String,
    /// For which case.
    pub case_id: Option<String>,
    /// What was decided.
    pub decision: Option<Decision>,
    /// Why it was refused.
    pub refusal: Option<String>,
    /// Why, in the words of who did it.
    pub reason: Option<String>,
    /// The request, receipt or job.
    pub subject: Option<Uuid>,
    /// What exactly: numbers, fields and names of logins, and no value of a selector.
    pub what: String,
    /// What came of a read or a look-up.
    pub outcome: Outcome,
}

/// What came of a read or a look-up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Rows that were opened.
    pub rows_opened: u64,
    /// Values that were.
    pub values_opened: u64,
    /// Rows that did not open.
    pub rows_failed: u64,
    /// Tokens that were told.
    pub tokens: u64,
    /// Why it was cut off.
    pub cut_off: Option<String>,
}

impl Event {
    pub(super) fn of(entry: Entry, details: &Details) -> Self {
        Self {
            seq: entry.seq,
            at: entry.at,
            action: entry.action.name().to_owned(),
            actor: entry.origin.actor,
            case_id: entry.case_id,
            decision: entry.decision,
            refusal: entry.refusal,
            reason: entry.reason,
            subject: entry.subject,
            what: what(details),
            outcome: Outcome::default(),
        }
    }
}

/// `1 row`, `2 rows`.
#[must_use]
pub fn so_many(count: impl Into<i128>, thing: &str) -> String {
    let count = count.into();
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// What an entry says beyond its action, in a line.
#[must_use]
pub fn what(details: &Details) -> String {
    let many = |count: Option<i64>, thing: &str| count.map_or(format!("? {thing}s"), |count| so_many(count, thing));
    match details {
        Details::Init(init) => so_many(init.migrations, "migration"),
        Details::Policy(policy) => policy_set(policy),
        Details::Request(asked) => format!(
            "{}: up to {}, for {}, {} needed",
            fields(&asked.fields),
            many(asked.max_values, "value"),
            many(asked.duration_seconds, "second"),
            many(asked.approvals_needed, "approval")
        ),
        Details::Approval(decided) | Details::Denial(decided) => {
            decided.requester.as_ref().map_or("no such request".to_owned(), |who| format!("asked for by {who}"))
        }
        Details::Revocation(revoked) => {
            revoked.revoked_at.map_or_else(String::new, |at| format!("in force since {}", UnixMicros(at)))
        }
        Details::Unmask(unmask) => {
            let pays = match (unmask.grant, unmask.named_grant) {
                (Some(grant), _) => format!("by grant {grant}"),
                (None, Some(named)) => format!("grant {named} was named"),
                (None, None) => "alone".to_owned(),
            };
            let by = unmask.selector.as_ref().map_or("a selector that was not kept".to_owned(), selected);
            let (rows, values) = (so_many(unmask.rows, "row"), so_many(unmask.values, "value"));
            format!("{}: {rows}, {values}, {pays}; {by}", fields(&unmask.fields))
        }
        Details::Page(page) => format!("from row {}", page.first),
        Details::Lookup(lookup) => {
            format!("{}: {}", lookup.field.map_or("?", Field::name), many(lookup.values, "value"))
        }
        Details::Redrive(redrive) => so_many(redrive.rows, "dead letter"),
        Details::Rotation(rotation) => rotations::what(rotation),
        Details::Restored(restored) => {
            let lost = match (restored.lost_after, &restored.checkpoint) {
                (Some(after), Some(lost)) => format!("signed entries after {after}, up to {}, are lost", lost.seq),
                _ => "nothing that was signed is lost".to_owned(),
            };
            let closed = so_many(restored.closed_receipts, "receipt");
            format!("after entry {}; {lost}; {closed} closed", restored.last)
        }
        Details::Tokens(_) | Details::RedrivePage(_) | Details::Unread => String::new(),
    }
}

fn policy_set(policy: &PolicySet) -> String {
    format!(
        "{} in 24 hours alone; more needs {} and lasts {} at most; cases are {}; checkpoints {}",
        so_many(policy.alone_limit, "value"),
        so_many(policy.approvals, "approval"),
        so_many(policy.longest_grant_seconds, "second"),
        policy.case_pattern,
        policy.checkpoints
    )
}

fn fields(fields: &[Field]) -> String {
    fields.iter().map(|field| field.name()).collect::<Vec<_>>().join(" and ")
}

/// How many of each: which, the log says, and a report goes further than the log does.
fn selected(selector: &Selector) -> String {
    let mut by: Vec<_> = [
        (selector.event_ids.len(), "event id"),
        (selector.user_ids.len(), "user id"),
        (selector.masked_ips.len(), "masked ip"),
        (selector.masked_device_ids.len(), "masked device id"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, thing)| so_many(i64::try_from(count).unwrap_or(i64::MAX), thing))
    .collect();
    match (&selector.since, &selector.until) {
        (None, None) => {}
        (Some(since), Some(until)) if since == until => by.push(format!("day {since}")),
        (since, until) => {
            let or = |day: &Option<String>, open: &str| day.clone().unwrap_or(open.to_owned());
            by.push(format!("days {} to {}", or(since, "the first"), or(until, "the last")));
        }
    }
    format!("selected by {}", by.join(", "))
}
