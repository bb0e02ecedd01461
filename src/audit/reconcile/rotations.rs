use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::cloudtrail::Unwrap;
use super::compare::{is, mismatch, principal_of};
use super::{Mismatch, Question, Rotation};
use crate::domain::audit::{Details, Entry, UnixMicros};
use crate::domain::{Purpose, RotationKind};

/// What the log has of rotations of keys.
#[derive(Default)]
pub(super) struct Rotations(HashMap<Uuid, Job>);

struct Job {
    seq: i64,
    kind: String,
    began: UnixMicros,
    /// `None`: it is under way.
    ended: Option<UnixMicros>,
    /// By who unwrapped, and for which purpose.
    unwraps: BTreeMap<(String, String), u64>,
}

impl Rotations {
    pub(super) fn note(&mut self, entry: &Entry) {
        let (Some(id), Ok(Details::Rotation(rotation))) = (entry.subject, Details::of(entry)) else { return };
        match rotation.step.as_str() {
            "start" => {
                let (seq, began) = (entry.seq, entry.at);
                let job = Job { seq, kind: rotation.kind, began, ended: None, unwraps: BTreeMap::new() };
                self.0.entry(id).or_insert(job);
            }
            // Also of what is looked at after the end.
            _ => {
                if let Some(job) = self.0.get_mut(&id) {
                    let is_over = job.ended.is_some() || rotation.step == "done";
                    job.ended = is_over.then_some(entry.at);
                }
            }
        }
    }

    /// Explains an unwrap by the rotation that the client names, or says why it does not.
    pub(super) fn explain(&mut self, id: Uuid, unwrap: &Unwrap, question: &Question) -> Vec<Mismatch> {
        let Some(job) = self.0.get_mut(&id) else {
            let what = "the rotation of keys that the client named is not in the log".to_owned();
            return vec![mismatch("unknown_job", what, unwrap, None)];
        };
        let (principal, purpose) = principal_of(unwrap);
        let seq = Some(job.seq);
        let mut found = Vec::new();
        if job.kind == RotationKind::Kek.name() {
            let what = "the rotation that the client named wraps keys anew, which unwraps none".to_owned();
            found.push(mismatch("not_permitted", what, unwrap, seq));
        } else if purpose != Purpose::Data.name() && purpose != Purpose::Token.name() {
            let what = format!("the rotation that the client named has nothing to do with a {purpose} key");
            found.push(mismatch("not_permitted", what, unwrap, seq));
        }
        if question.reseal.as_ref().is_some_and(|reseal| !is(reseal, unwrap)) {
            let what = "another principal than the one who reseals".to_owned();
            found.push(mismatch("wrong_principal", what, unwrap, seq));
        } else if question.unmask.as_ref().is_some_and(|unmask| is(unmask, unwrap)) {
            let what = "who unmasks unwrapped a key in the name of a rotation".to_owned();
            found.push(mismatch("unmask_principal", what, unwrap, seq));
        }
        let tolerance = i64::try_from(question.tolerance.as_micros()).unwrap_or(i64::MAX);
        let is_early = unwrap.at.0 < job.began.0.saturating_sub(tolerance);
        let is_late = job.ended.is_some_and(|ended| unwrap.at.0 > ended.0.saturating_add(tolerance));
        if is_early || is_late {
            let what = match is_early {
                true => "it was unwrapped before the rotation that the client named was recorded",
                false => "it was unwrapped after the rotation that the client named had ended",
            };
            found.push(mismatch("apart", what.to_owned(), unwrap, seq));
        }
        *job.unwraps.entry((principal, purpose)).or_default() += 1;
        found
    }

    /// Those that something was unwrapped for, in the order of the log.
    pub(super) fn in_order(self) -> Vec<Rotation> {
        let mut jobs: Vec<_> = self.0.into_iter().collect();
        jobs.sort_by_key(|(_, job)| job.seq);
        jobs.into_iter()
            .flat_map(|(id, job)| {
                let (seq, kind) = (job.seq, job.kind);
                job.unwraps.into_iter().map(move |((principal, purpose), unwraps)| Rotation {
                    job: id.to_string(),
                    seq,
                    kind: kind.clone(),
                    principal,
                    purpose,
                    unwraps,
                })
            })
            .collect()
    }
}
