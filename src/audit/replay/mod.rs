//! The rule once more, over the log alone: what was allowed must follow from what was recorded before it.
//!
//! What was refused needs no justification, and what this version does not know is passed over.

mod grants;
mod policy;
mod receipts;
mod rotations;
#[cfg(test)]
mod tests;

use super::finding::Broken;
use crate::domain::audit::{Action, Decision, Details, Entry, Lookup, Unmask};
use crate::domain::{AccessRefusal, VaultId};
use grants::Grants;
use policy::Policy;
use receipts::{Alone, Receipts};
use rotations::Rotations;

/// What the log says up to an entry.
pub(super) struct Replay {
    vault: VaultId,
    policy: Option<Policy>,
    grants: Grants,
    receipts: Receipts,
    rotations: Rotations,
    alone: Alone,
    unchecked_pattern: Option<i64>,
}

impl Replay {
    pub(super) fn of(vault: VaultId) -> Self {
        Self {
            vault,
            policy: None,
            grants: Grants::default(),
            receipts: Receipts::default(),
            rotations: Rotations::default(),
            alone: Alone::default(),
            unchecked_pattern: None,
        }
    }

    /// The next entry. Fails where it does not follow; what it did counts nevertheless, but for decisions.
    pub(super) fn follow(&mut self, entry: &Entry, details: &Details) -> Result<(), Broken> {
        if entry.decision == Some(Decision::Refused) || *details == Details::Unread {
            return Ok(());
        }
        if asks(&entry.action) != entry.decision.is_some() {
            return Err(Broken::new(
                "decision",
                "it has a decision where there is none to make, or none where there is",
            ));
        }
        match details {
            Details::Init(_) if entry.subject != Some(self.vault.0) => {
                return Err(Broken::new("vault", "it is of another vault"));
            }
            Details::Policy(set) => {
                let policy = Policy::of(set);
                if !policy.has_checked_pattern() {
                    self.unchecked_pattern.get_or_insert(entry.seq);
                }
                self.policy = Some(policy);
            }
            Details::Request(asked) => self.grants.request(entry, asked, policy(self.policy.as_ref())?)?,
            Details::Approval(said) => self.grants.decide(entry, said, false, policy(self.policy.as_ref())?)?,
            Details::Denial(said) => self.grants.decide(entry, said, true, policy(self.policy.as_ref())?)?,
            Details::Revocation(_) => self.grants.revoke(entry)?,
            Details::Unmask(unmask) => self.unmask(entry, unmask)?,
            Details::Page(page) => self.receipts.page(entry, page)?,
            Details::Lookup(lookup) => self.lookup(entry, lookup)?,
            Details::Tokens(tokens) => self.receipts.tokens(entry, tokens)?,
            Details::Redrive(redrive) => self.receipts.redrive(entry, redrive)?,
            Details::RedrivePage(page) => self.receipts.redrive_page(entry, page)?,
            Details::Restored(_) => self.receipts.close(),
            Details::Rotation(rotation) => self.rotations.follow(entry, rotation)?,
            Details::Init(_) | Details::Unread => {}
        }
        Ok(())
    }

    /// The first policy whose pattern of a case this program may read otherwise than PostgreSQL.
    pub(super) fn unchecked_pattern(&self) -> Option<i64> {
        self.unchecked_pattern
    }

    fn unmask(&mut self, entry: &Entry, unmask: &Unmask) -> Result<(), Broken> {
        let judged = self.judge(entry, unmask);
        if entry.action == Action::Unmask {
            match unmask.grant {
                Some(grant) => self.grants.charge(grant, unmask.values),
                None => self.alone.charge(entry, unmask.values),
            }
            self.receipts.unmask(entry, unmask.rows);
        }
        judged
    }

    fn judge(&mut self, entry: &Entry, unmask: &Unmask) -> Result<(), Broken> {
        let policy = policy(self.policy.as_ref())?;
        policy.form(entry, &unmask.fields)?;
        let fields = i64::try_from(unmask.fields.len()).unwrap_or(i64::MAX);
        if unmask.rows < 0 || unmask.values != unmask.rows.saturating_mul(fields) {
            return Err(Broken::new("details", "its values are not its rows times its fields"));
        }
        if unmask.rows > 100_000 {
            return not_allowed(AccessRefusal::TooManyRows, "it was allowed more rows than a receipt holds");
        }
        let Some(selector) = unmask.selector.as_ref().filter(|selector| selector.values() <= 1000) else {
            return not_allowed(AccessRefusal::Malformed, "it was allowed a selection that is too long");
        };
        if selector.values() == 0 && (selector.since.is_none() || selector.until.is_none()) {
            return not_allowed(AccessRefusal::NoSelector, "it was allowed without saying which rows");
        }
        if unmask.named_grant.is_some() && unmask.named_grant != unmask.grant {
            return not_allowed(AccessRefusal::UnknownGrant, "it was charged to another grant than the one it named");
        }
        if let Some(grant) = unmask.grant {
            return self.grants.pays(grant, entry, &unmask.fields, unmask.values, policy);
        }
        if let Some(refusal) = self.grants.closed(entry) {
            return not_allowed(refusal, "it was opened alone, after the case was denied or revoked to this login");
        }
        let used = self.alone.used(entry);
        if used.saturating_add(unmask.values) > policy.alone_limit {
            let limit = policy.alone_limit;
            let what = format!(
                "{} values alone, after {used} in the 24 hours before, where policy has {limit}",
                unmask.values
            );
            return not_allowed(AccessRefusal::AloneLimit, what);
        }
        Ok(())
    }

    fn lookup(&mut self, entry: &Entry, lookup: &Lookup) -> Result<(), Broken> {
        let values = lookup.values.unwrap_or(0);
        self.receipts.lookup(entry, values);
        policy(self.policy.as_ref())?.form(entry, lookup.field.as_slice())?;
        if !(1..=10_000).contains(&values) {
            return not_allowed(AccessRefusal::TooManyValues, "it was allowed more values than a look-up has");
        }
        Ok(())
    }
}

/// Whether entries of an action say what was decided.
fn asks(action: &Action) -> bool {
    matches!(
        action,
        Action::AccessRequest
            | Action::AccessApproval
            | Action::AccessDenial
            | Action::AccessRevocation
            | Action::Unmask
            | Action::UnmaskDryRun
            | Action::Lookup
            | Action::Redrive
    )
}

fn policy(policy: Option<&Policy>) -> Result<&Policy, Broken> {
    policy.ok_or_else(|| Broken::new(AccessRefusal::NoPolicy.code(), "it was allowed before any policy was set"))
}

/// It was allowed, where the rule refuses with this word.
fn not_allowed(refusal: AccessRefusal, what: impl Into<String>) -> Result<(), Broken> {
    Err(Broken::new(refusal.code(), what))
}
