use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::not_allowed;
use super::policy::Policy;
use crate::audit::finding::Broken;
use crate::domain::audit::{Decided, Entry, Requested, UnixMicros};
use crate::domain::{AccessRefusal, Field};

/// All that was asked for, and what became of it.
#[derive(Default)]
pub(super) struct Grants {
    requests: HashMap<Uuid, Request>,
    /// Who was denied, or taken back from by others, for which case.
    closed: HashMap<(String, String), AccessRefusal>,
}

/// What somebody asked for.
struct Request {
    requester: String,
    case_id: String,
    fields: Vec<Field>,
    max_values: i64,
    duration_seconds: i64,
    approvals_needed: i64,
    approvals: Vec<(UnixMicros, String)>,
    denied: bool,
    revoked_by: HashSet<String>,
    used: i64,
}

impl Grants {
    pub(super) fn request(&mut self, entry: &Entry, asked: &Requested, policy: &Policy) -> Result<(), Broken> {
        let (max_values, duration_seconds) = (asked.max_values.unwrap_or(0), asked.duration_seconds.unwrap_or(0));
        let request = Request {
            requester: entry.origin.actor.clone(),
            case_id: entry.case_id.clone().unwrap_or_default(),
            fields: asked.fields.clone(),
            max_values,
            duration_seconds,
            approvals_needed: asked.approvals_needed.unwrap_or(i64::MAX),
            approvals: Vec::new(),
            denied: false,
            revoked_by: HashSet::new(),
            used: 0,
        };
        let known = entry.subject.is_none_or(|id| self.requests.insert(id, request).is_some());
        if known {
            return not_allowed(AccessRefusal::Malformed, "the request has no id of its own");
        }
        policy.form(entry, &asked.fields)?;
        if !(1..=1_000_000).contains(&max_values) {
            return not_allowed(AccessRefusal::TooManyValues, "more values were asked for than a grant may have");
        }
        if !(60..=policy.longest_grant_seconds).contains(&duration_seconds) {
            return not_allowed(AccessRefusal::TooLong, "it was asked for longer than policy lets a grant last");
        }
        if asked.approvals_needed != Some(policy.approvals) {
            return not_allowed(AccessRefusal::NotApproved, "it asks for other approvals than the policy of its time");
        }
        Ok(())
    }

    /// An approval, or a denial. One that breaks the rule has no effect.
    pub(super) fn decide(
        &mut self,
        entry: &Entry,
        said: &Decided,
        denies: bool,
        policy: &Policy,
    ) -> Result<(), Broken> {
        let actor = &entry.origin.actor;
        let Some(asked) = entry.subject.and_then(|id| self.requests.get_mut(&id)) else {
            return not_allowed(AccessRefusal::UnknownRequest, "it decides on a request that was not made before it");
        };
        if asked.requester == *actor {
            return not_allowed(AccessRefusal::OwnRequest, format!("{actor:?} decides on a request of their own"));
        }
        if said.requester.as_ref() != Some(&asked.requester) || entry.case_id.as_ref() != Some(&asked.case_id) {
            return not_allowed(AccessRefusal::UnknownRequest, "it names another requester or case than the request");
        }
        if asked.denied || !asked.revoked_by.is_empty() {
            return not_allowed(AccessRefusal::AlreadyDecided, "the request was denied or revoked before it");
        }
        if asked.approvals.iter().any(|(_, by)| by == actor) {
            return not_allowed(AccessRefusal::AlreadyDecided, format!("{actor:?} had approved it already"));
        }
        if asked.granted_at(policy).is_some() {
            return not_allowed(AccessRefusal::AlreadyGranted, "the request had all approvals before it");
        }
        if denies {
            asked.denied = true;
            self.closed.insert((asked.requester.clone(), asked.case_id.clone()), AccessRefusal::Denied);
        } else {
            asked.approvals.push((entry.at, actor.clone()));
        }
        Ok(())
    }

    pub(super) fn revoke(&mut self, entry: &Entry) -> Result<(), Broken> {
        let actor = &entry.origin.actor;
        let Some(asked) = entry.subject.and_then(|id| self.requests.get_mut(&id)) else {
            return not_allowed(AccessRefusal::UnknownRequest, "it revokes a request that was not made before it");
        };
        if *actor != asked.requester {
            let case = (asked.requester.clone(), asked.case_id.clone());
            self.closed.entry(case).or_insert(AccessRefusal::Revoked);
        }
        if !asked.revoked_by.insert(actor.clone()) {
            return not_allowed(AccessRefusal::AlreadyDecided, format!("{actor:?} had revoked it already"));
        }
        Ok(())
    }

    /// Whether a grant pays for so many values of these fields.
    pub(super) fn pays(
        &self,
        id: Uuid,
        entry: &Entry,
        fields: &[Field],
        values: i64,
        policy: &Policy,
    ) -> Result<(), Broken> {
        let Some(grant) = self.requests.get(&id).filter(|grant| grant.requester == entry.origin.actor) else {
            return not_allowed(AccessRefusal::UnknownGrant, format!("grant {id} is none of this login"));
        };
        if !grant.revoked_by.is_empty() {
            return not_allowed(AccessRefusal::Revoked, format!("grant {id} was revoked before it"));
        }
        if grant.denied {
            return not_allowed(AccessRefusal::Denied, format!("request {id} was denied before it"));
        }
        let Some(granted_at) = grant.granted_at(policy) else {
            return not_allowed(
                AccessRefusal::NotApproved,
                format!("request {id} had not the approvals that it needs"),
            );
        };
        let expires_at = granted_at.plus_seconds(grant.duration_seconds.min(policy.longest_grant_seconds));
        if expires_at <= entry.at {
            return not_allowed(AccessRefusal::Expired, format!("grant {id} was over at {expires_at}"));
        }
        if entry.case_id.as_ref() != Some(&grant.case_id) {
            return not_allowed(AccessRefusal::OtherCase, format!("grant {id} is for another case"));
        }
        if !fields.iter().all(|field| grant.fields.contains(field)) {
            return not_allowed(AccessRefusal::OtherFields, format!("grant {id} is for other fields"));
        }
        if grant.used.saturating_add(values) > grant.max_values {
            let left = grant.max_values - grant.used;
            return not_allowed(AccessRefusal::UsedUp, format!("grant {id} had {left} values left"));
        }
        Ok(())
    }

    pub(super) fn charge(&mut self, id: Uuid, values: i64) {
        if let Some(grant) = self.requests.get_mut(&id) {
            grant.used = grant.used.saturating_add(values);
        }
    }

    /// Whether somebody opens nothing of a case alone any more.
    pub(super) fn closed(&self, entry: &Entry) -> Option<AccessRefusal> {
        let case = (entry.origin.actor.clone(), entry.case_id.clone().unwrap_or_default());
        self.closed.get(&case).copied()
    }
}

impl Request {
    /// The time of the last approval that it needs, by the request and by the policy of the moment.
    fn granted_at(&self, policy: &Policy) -> Option<UnixMicros> {
        let needed = usize::try_from(self.approvals_needed.max(policy.approvals)).ok()?;
        self.approvals.get(needed.checked_sub(1)?).map(|(at, _)| *at)
    }
}
