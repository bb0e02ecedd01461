//! What a report says, whatever it is written in.

use crate::audit::{Account, Counts, Event, Rotated, Scope, Signatures, so_many};
use crate::domain::audit::Decision;

/// The numbers of a row, each with its title.
pub(super) fn columns(counts: &Counts) -> [(&'static str, u64); 11] {
    [
        ("requests", counts.requests),
        ("approvals", counts.approvals),
        ("denials", counts.denials),
        ("revocations", counts.revocations),
        ("reads", counts.reads),
        ("rows opened", counts.rows_opened),
        ("values opened", counts.values_opened),
        ("did not open", counts.rows_failed),
        ("look-ups", counts.lookups),
        ("tokens", counts.tokens),
        ("refusals", counts.refusals),
    ]
}

pub(super) fn title(scope: &Scope) -> String {
    match scope {
        Scope::Case(case) => format!("Access to originals: case {case}"),
        Scope::Month(month) => format!("Access to originals: {month} (UTC)"),
    }
}

/// What is said of the log as a whole: whether it holds, and sentences why.
pub(super) fn verdict(account: &Account) -> (bool, Vec<String>) {
    let (log, signed) = (&account.verified, &account.signed);
    let holds = log.findings.is_empty() && !signed.is_broken();
    let mut said = vec![match log.findings.len() {
        0 => format!("All {} entries are there, unchanged, and what they allowed follows from them.", log.entries),
        count => format!(
            "{} of fault; the first of each is named below.",
            so_many(i64::try_from(count).unwrap_or(i64::MAX), "kind")
        ),
    }];
    said.push(match &signed.last {
        None => "No entry is signed: pii-vault audit notary has not run.".to_owned(),
        Some(last) => format!(
            "{}; the last signs entry {} and all before, at {}. Entries after it: {}.",
            so_many(signed.count, "checkpoint"),
            last.checkpoint.seq,
            last.checkpoint.at,
            signed.unsigned
        ),
    });
    if !signed.broken.is_empty() {
        said.push(format!(
            "These checkpoints do not fit the log, or the checkpoint before: of entry {}.",
            list(&signed.broken)
        ));
    }
    match (&signed.signatures, signed.count) {
        (_, 0) => {}
        (Signatures::NotChecked, _) => said.push(
            "Signatures were not verified: no public key was given. Copies outside of the database were not compared."
                .to_owned(),
        ),
        (Signatures::Checked { bad }, _) if bad.is_empty() => said.push(
            "All their signatures verify under the public key that was given. Copies outside of the database were not \
             compared."
                .to_owned(),
        ),
        (Signatures::Checked { bad }, _) => {
            said.push(format!("These signatures do not verify: of entry {}.", list(bad)));
        }
    }
    (holds, said)
}

/// The first ten.
fn list(seqs: &[i64]) -> String {
    let more = if seqs.len() > 10 { ", …" } else { "" };
    let first: Vec<_> = seqs.iter().take(10).map(ToString::to_string).collect();
    first.join(", ") + more
}

pub(super) fn action(word: &str) -> &str {
    match word {
        "init" => "vault made or updated",
        "policy" => "policy set",
        "access_request" => "grant requested",
        "access_approval" => "request approved",
        "access_denial" => "request denied",
        "access_revocation" => "grant revoked",
        "unmask" => "read",
        "unmask_dry_run" => "dry run",
        "unmask_page" => "rows of an earlier read",
        "lookup" => "look-up of tokens",
        "lookup_tokens" => "tokens of an earlier look-up",
        "redrive" => "dead letters redriven",
        "restored" => "older state restored",
        "key_rotation" => "rotation of keys",
        other => other,
    }
}

pub(super) fn decision(event: &Event) -> String {
    match (event.decision, &event.refusal, &event.outcome.cut_off) {
        (_, Some(refusal), _) => format!("refused: {refusal}"),
        (Some(Decision::Allowed), None, Some(why)) => format!("allowed, cut off: {why}"),
        (Some(decision), None, _) => decision.name().to_owned(),
        (None, None, _) => String::new(),
    }
}

/// What came of it. Empty where nothing could.
pub(super) fn outcome(event: &Event) -> String {
    let outcome = &event.outcome;
    let was_allowed = event.decision == Some(Decision::Allowed);
    match event.action.as_str() {
        "unmask" | "unmask_page" if outcome.rows_opened > 0 || outcome.rows_failed > 0 => {
            let failed = match outcome.rows_failed {
                0 => String::new(),
                count => format!("; {} did not open", so_many(count, "row")),
            };
            let (rows, values) = (so_many(outcome.rows_opened, "row"), so_many(outcome.values_opened, "value"));
            format!("opened {rows}, {values}{failed}")
        }
        "unmask" if was_allowed => "nothing was opened".to_owned(),
        "lookup" | "lookup_tokens" if outcome.tokens > 0 => format!("{} told", so_many(outcome.tokens, "token")),
        "lookup" if was_allowed => "no token was told".to_owned(),
        _ => String::new(),
    }
}

/// A rotation of keys, each of its columns.
pub(super) fn rotation(rotated: &Rotated) -> [String; 5] {
    let (who, why) = match &rotated.begun {
        Some((actor, reason)) => (actor.clone(), reason.clone().unwrap_or_default()),
        None => ("(began before)".to_owned(), String::new()),
    };
    let steps: Vec<_> = rotated.steps.iter().map(|(at, step)| format!("{step} {at}")).collect();
    let of = rotated.total.map(|total| format!(" of {total}")).unwrap_or_default();
    let failed = match rotated.failed {
        0 => String::new(),
        count => format!(", {count} passed over"),
    };
    let things = if rotated.kind == "kek" { "keys" } else { "rows" };
    let what = format!("{} of {} keys", rotated.kind, rotated.purpose);
    [what, who, why, steps.join(", "), format!("{}{of} {things} changed{failed}", rotated.changed)]
}

/// The titles of these columns.
pub(super) const ROTATION_TITLES: [&str; 5] = ["Rotation", "Begun by", "Reason", "Steps (UTC)", "Outcome"];

/// Behind the timeline, where it was cut.
pub(super) fn untold(account: &Account) -> Option<String> {
    (account.untold > 0).then(|| {
        format!("{} more events are counted above and not listed: pii-vault audit list has them.", account.untold)
    })
}

/// What the numbers mean.
pub(super) const NOTES: [&str; 4] = [
    "What was opened is what was recorded before it was shown; nobody can tell whether it was looked at.",
    "A row has one value for each field that was asked for. A refusal opened nothing, unless it cut off a read.",
    "Reasons and case ids are in the words of who acted. Which users, tokens or events were selected, pii-vault audit show \
     tells.",
    "An administrator of the database can rewrite all of this log. Copies of checkpoints outside of it are what shows that.",
];
