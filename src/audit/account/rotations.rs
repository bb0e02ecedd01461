use uuid::Uuid;

use super::timeline::so_many;
use crate::domain::audit::{Entry, Rotation, UnixMicros};

/// A rotation of keys, as far as it is told.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// The job.
    pub job: Uuid,
    /// `kek`, `data-key` or `token-key`.
    pub kind: String,
    /// What the keys are for.
    pub purpose: String,
    /// Who began it, and why; `None`: it began before the span.
    pub begun: Option<(String, Option<String>)>,
    /// What became of it, and when.
    pub steps: Vec<(UnixMicros, String)>,
    /// Keys or rows that were to be changed.
    pub total: Option<i64>,
    /// Those that were.
    pub changed: i64,
    /// Those that were passed over.
    pub failed: i64,
}

impl Rotated {
    /// Adds a step to the rotation that it is of. What is about keys and about no job is in the timeline alone.
    pub(super) fn note(told: &mut Vec<Self>, entry: &Entry, rotation: &Rotation) {
        let Some(job) = entry.subject else { return };
        let place = told.iter().position(|rotated| rotated.job == job);
        // A retirement may be of a key, which is no rotation.
        if place.is_none() && rotation.step == "retire" {
            return;
        }
        let place = place.unwrap_or_else(|| {
            told.push(Self {
                job,
                kind: rotation.kind.clone(),
                purpose: rotation.purpose.clone(),
                begun: None,
                steps: Vec::new(),
                total: None,
                changed: 0,
                failed: 0,
            });
            told.len() - 1
        });
        let Some(rotated) = told.get_mut(place) else { return };
        rotated.steps.push((entry.at, rotation.step.clone()));
        if rotation.step == "start" {
            rotated.begun = Some((entry.origin.actor.clone(), entry.reason.clone()));
        }
        rotated.total = rotation.total.or(rotated.total);
        rotated.changed = rotation.changed.unwrap_or(rotated.changed);
        rotated.failed = rotation.failed.unwrap_or(rotated.failed);
    }
}

/// What an entry says, in a line.
pub(super) fn what(rotation: &Rotation) -> String {
    let Rotation { kind, purpose, step, .. } = rotation;
    let things = if kind == "kek" { "key" } else { "row" };
    let mut said = format!("{kind} rotation of {purpose} keys: {step}");
    if let Some(total) = rotation.total {
        said += &format!(", {}", so_many(total, things));
        // What a kek rotation changes are the keys that it lists.
        if let Some(keys) = rotation.key_count().filter(|keys| *keys > 0 && kind != "kek") {
            said += &format!(" under {}", so_many(keys, "key"));
        }
        if let Some(target) = &rotation.target_kms_key {
            said += &format!(", to {target}");
        }
    }
    if let Some(kms_key) = &rotation.kms_key {
        said += &format!(", {kms_key}");
    } else if let (None, Some(keys)) = (rotation.total, rotation.key_count()) {
        said += &format!(", {}", so_many(keys, "key"));
    }
    if let Some(changed) = rotation.changed {
        said += &format!(", {} changed", so_many(changed, things));
    }
    if let Some(failed) = rotation.failed.filter(|failed| *failed > 0) {
        said += &format!(", {failed} passed over");
    }
    said
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn said(details: Value) -> String {
        what(&serde_json::from_value(details).unwrap())
    }

    #[test]
    fn an_entry_is_told_in_a_line() {
        let start = json!({"kind": "data-key", "purpose": "data", "step": "start", "total": 1200, "keys": 3});
        assert_eq!(said(start), "data-key rotation of data keys: start, 1200 rows under 3 keys");
        let start = json!({"kind": "kek", "purpose": "token", "step": "start", "total": 1, "keys": 0,
            "target_kms_key": "arn:x"});
        assert_eq!(said(start), "kek rotation of token keys: start, 1 key, to arn:x");
        let start = json!({"kind": "kek", "purpose": "data", "step": "start", "total": 2, "keys": 2,
            "target_kms_key": "arn:x"});
        assert_eq!(said(start), "kek rotation of data keys: start, 2 keys, to arn:x");
        let pause = json!({"kind": "kek", "purpose": "data", "step": "pause", "changed": 2, "failed": 1});
        assert_eq!(said(pause), "kek rotation of data keys: pause, 2 keys changed, 1 passed over");
        let retire = json!({"kind": "kek", "purpose": "data", "step": "retire", "kms_key": "arn:x"});
        assert_eq!(said(retire), "kek rotation of data keys: retire, arn:x");
        let retire = json!({"kind": "data-key", "purpose": "data", "step": "retire", "keys": ["x", "y"]});
        assert_eq!(said(retire), "data-key rotation of data keys: retire, 2 keys");
        let other = json!({"kind": "x", "purpose": "y", "step": "z", "keys": "not a number"});
        assert_eq!(said(other), "x rotation of y keys: z");
    }
}
