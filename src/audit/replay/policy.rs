use crate::audit::finding::Broken;
use crate::domain::audit::{Entry, PolicySet};
use crate::domain::{AccessRefusal, CasePattern, Field};

use super::not_allowed;

/// What may be opened at one time.
pub(super) struct Policy {
    pub(super) alone_limit: i64,
    pub(super) approvals: i64,
    pub(super) longest_grant_seconds: i64,
    /// `None`: what PostgreSQL made of it is not known here.
    case_pattern: Option<CasePattern>,
}

impl Policy {
    pub(super) fn of(set: &PolicySet) -> Self {
        Self {
            alone_limit: set.alone_limit,
            approvals: set.approvals,
            longest_grant_seconds: set.longest_grant_seconds,
            case_pattern: CasePattern::parse(&set.case_pattern).ok(),
        }
    }

    pub(super) fn has_checked_pattern(&self) -> bool {
        self.case_pattern.is_some()
    }

    /// What `pii_vault.access_form` asks of a reason, a case and fields.
    pub(super) fn form(&self, entry: &Entry, fields: &[Field]) -> Result<(), Broken> {
        let reason = entry.reason.as_deref().unwrap_or_default();
        // What is a space beyond ASCII, depends on the database's locale.
        if reason.chars().all(|c| c.is_ascii_whitespace()) || reason.chars().count() > 1000 {
            return not_allowed(AccessRefusal::Malformed, "it was allowed without a reason, or with too long a one");
        }
        if fields.is_empty() {
            return not_allowed(AccessRefusal::Malformed, "it was allowed without any field");
        }
        let case = entry.case_id.as_deref().unwrap_or_default();
        let plain = (1..=100).contains(&case.len()) && case.bytes().all(|byte| byte.is_ascii_graphic());
        if !plain || self.case_pattern.as_ref().is_some_and(|pattern| !pattern.matches(case)) {
            return not_allowed(AccessRefusal::CaseForm, "it was allowed for a case id that policy does not take");
        }
        Ok(())
    }
}
