use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::audit::finding::Broken;
use crate::domain::audit::{Entry, Rotation};
use crate::domain::{Purpose, RotationKind, RotationStep};

/// Rotations of keys, each from its start on: there is one of a kind and purpose at a time, and its steps follow from
/// each other. No key is retired that none of them left.
#[derive(Default)]
pub(super) struct Rotations {
    jobs: HashMap<Uuid, Job>,
    unfinished: HashMap<(RotationKind, Purpose), Uuid>,
    /// Keys that are kept for opening alone.
    left: HashSet<Uuid>,
    /// Whether keys were left that the log does not list, as they were too many.
    left_unlisted: bool,
    /// KMS keys that may not wrap any more.
    kms_keys: HashSet<(Purpose, String)>,
}

struct Job {
    kind: RotationKind,
    purpose: Purpose,
    step: RotationStep,
    paused: bool,
    old_keys: Vec<Uuid>,
    new_key: Option<Uuid>,
    target: Option<String>,
    /// Of a kek, where keys were chosen: how many.
    chosen: Option<i64>,
    /// Since the step began.
    changed: i64,
    failed: i64,
}

impl Rotations {
    pub(super) fn follow(&mut self, entry: &Entry, rotation: &Rotation) -> Result<(), Broken> {
        let kind = RotationKind::ALL.into_iter().find(|kind| kind.name() == rotation.kind);
        let purpose = Purpose::ALL.into_iter().find(|purpose| purpose.name() == rotation.purpose);
        let (Some(kind), Some(purpose)) = (kind, purpose) else {
            return broken("it is of no kind of rotation, or of no purpose that keys have");
        };
        match (rotation.step.as_str(), entry.subject) {
            ("start", Some(id)) => self.start(id, entry, rotation, kind, purpose),
            // Of keys, and of no job.
            ("retire", _) if kind == RotationKind::Kek => self.retire_kms_key(rotation, purpose),
            ("retire", _) => self.retire(rotation),
            (_, None) => broken("it names no job"),
            (_, Some(id)) => self.go_on(id, rotation, kind, purpose),
        }
    }

    fn start(
        &mut self,
        id: Uuid,
        entry: &Entry,
        rotation: &Rotation,
        kind: RotationKind,
        purpose: Purpose,
    ) -> Result<(), Broken> {
        let old_keys = rotation.old_keys.clone().unwrap_or_default();
        if kind == RotationKind::DataKey {
            self.left_unlisted |= rotation.old_keys.is_none();
            self.left.extend(&old_keys);
        }
        let new_key = rotation.new_key;
        let step = RotationStep::Work;
        let target = rotation.target_kms_key.clone();
        let chosen = rotation.key_count().filter(|keys| kind == RotationKind::Kek && *keys > 0);
        let job = Job { kind, purpose, step, paused: false, old_keys, new_key, target, chosen, changed: 0, failed: 0 };
        let known = self.jobs.insert(id, job).is_some();
        let other = self.unfinished.insert((kind, purpose), id);
        let reason = entry.reason.as_deref().unwrap_or_default();
        if known {
            return broken("a rotation of this id had begun before it");
        }
        if other.is_some() {
            return broken("it began before the one of its kind and purpose had ended");
        }
        if reason.chars().all(|c| c.is_ascii_whitespace()) || reason.chars().count() > 1000 {
            return broken("it began without a reason, or with too long a one");
        }
        match (kind, purpose) {
            (RotationKind::DataKey, Purpose::Token | Purpose::DeadLetter)
            | (RotationKind::TokenKey, Purpose::Data | Purpose::DeadLetter) => {
                broken("no rotation of this kind is for keys of this purpose")
            }
            (RotationKind::Kek, _) if self.is_retired(purpose, rotation.target_kms_key.as_ref()) => {
                broken("it began to wrap under a KMS key that was retired before it")
            }
            (RotationKind::Kek, _) if chosen.is_some() && chosen != rotation.total => {
                broken("it is not to wrap as many keys as it chose")
            }
            _ if rotation.total.is_none_or(|total| total < 0) => broken("it does not say how much there is to do"),
            _ => Ok(()),
        }
    }

    fn go_on(&mut self, id: Uuid, rotation: &Rotation, kind: RotationKind, purpose: Purpose) -> Result<(), Broken> {
        let known = self.jobs.get_mut(&id).filter(|job| (job.kind, job.purpose) == (kind, purpose));
        let Some(job) = known else {
            return broken("no rotation of this kind, purpose and id had begun before it");
        };
        let (changed, failed) = (rotation.changed.unwrap_or(job.changed), rotation.failed.unwrap_or(job.failed));
        let counts_back = changed < job.changed || failed < job.failed;
        (job.changed, job.failed) = (changed, failed);
        let is_over = |step| matches!(step, RotationStep::Done | RotationStep::Abandoned);
        let was_over = is_over(job.step);
        let chosen = job.chosen;
        let follows = match rotation.step.as_str() {
            "pause" => !was_over && !std::mem::replace(&mut job.paused, true),
            "resume" => !was_over && std::mem::replace(&mut job.paused, false),
            word => match next(kind, job.step, word) {
                Next::Step(step) => {
                    job.step = step;
                    // Another step counts anew.
                    (job.changed, job.failed) = (0, 0);
                    if step == RotationStep::Emptying {
                        job.paused = false;
                        match word {
                            "finish" => self.left.extend(&job.old_keys),
                            _ => self.left.extend(job.new_key),
                        }
                    }
                    true
                }
                Next::Never => false,
                Next::Unknown => true,
            },
        };
        if is_over(job.step) && self.unfinished.get(&(kind, purpose)) == Some(&id) {
            self.unfinished.remove(&(kind, purpose));
        }
        if !follows {
            return broken(format!("{:?} does not follow from what the rotation had come to", rotation.step));
        }
        if chosen.is_some_and(|chosen| changed > chosen) {
            return broken("it wrapped more keys than it chose");
        }
        if counts_back {
            return broken("it has fewer changed or passed over than before");
        }
        Ok(())
    }

    fn retire(&mut self, rotation: &Rotation) -> Result<(), Broken> {
        let keys = rotation.retired();
        let left = keys.iter().filter(|key| self.left.remove(key)).count();
        match left == keys.len() || self.left_unlisted {
            true if keys.is_empty() => broken("it retires no key"),
            true => Ok(()),
            false => broken("it retires a key that no rotation before it left, or that was retired before"),
        }
    }

    fn retire_kms_key(&mut self, rotation: &Rotation, purpose: Purpose) -> Result<(), Broken> {
        let Some(kms_key) = rotation.kms_key.clone() else {
            return broken("it retires no KMS key");
        };
        let under_way = self.unfinished.get(&(RotationKind::Kek, purpose)).and_then(|id| self.jobs.get(id));
        if under_way.is_some_and(|job| job.target.as_ref() == Some(&kms_key)) {
            return broken("it retires a KMS key that a rotation is wrapping under");
        }
        match self.kms_keys.insert((purpose, kms_key)) {
            true => Ok(()),
            false => broken("it retires a KMS key that was retired before"),
        }
    }

    fn is_retired(&self, purpose: Purpose, kms_key: Option<&String>) -> bool {
        kms_key.is_some_and(|kms_key| self.kms_keys.contains(&(purpose, kms_key.clone())))
    }
}

enum Next {
    Step(RotationStep),
    /// Not from here.
    Never,
    /// Nothing that changes the step.
    Unknown,
}

/// The step that a word leads to.
fn next(kind: RotationKind, from: RotationStep, word: &str) -> Next {
    use RotationStep::{Abandoned, CutOver, Done, Emptying, Filled, Work};
    let is_token = kind == RotationKind::TokenKey;
    match (word, from) {
        ("retry", Work | Filled) | ("fill_again", Filled) if is_token => Next::Step(Work),
        ("filled", Work) if is_token => Next::Step(Filled),
        ("cut_over", Filled) if is_token => Next::Step(CutOver),
        ("finish", CutOver) if is_token => Next::Step(Emptying),
        ("roll_back", Work | Filled | CutOver) if is_token => Next::Step(Emptying),
        ("done", Work) if !is_token => Next::Step(Done),
        ("abandoned", Work) if !is_token => Next::Step(Abandoned),
        ("done", Emptying) if is_token => Next::Step(Done),
        ("retry" | "fill_again" | "filled" | "cut_over" | "finish" | "roll_back" | "done" | "abandoned", _) => {
            Next::Never
        }
        _ => Next::Unknown,
    }
}

fn broken(what: impl Into<String>) -> Result<(), Broken> {
    Err(Broken::new("rotation", what))
}
