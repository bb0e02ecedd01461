use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::Serialize;

use crate::domain::audit::{Action, Decision};

/// How often something was done, and how much came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Grants that were asked for.
    pub requests: u64,
    /// Approvals of them.
    pub approvals: u64,
    /// Denials.
    pub denials: u64,
    /// Grants that were taken back, and requests that were withdrawn.
    pub revocations: u64,
    /// Receipts: reads that were allowed.
    pub reads: u64,
    /// Questions how much a read would be, that were allowed.
    pub dry_runs: u64,
    /// Rows that were opened.
    pub rows_opened: u64,
    /// Values that were: a row has one for each field that was asked for.
    pub values_opened: u64,
    /// Rows that did not open.
    pub rows_failed: u64,
    /// Look-ups of tokens that were allowed.
    pub lookups: u64,
    /// Tokens that came of them.
    pub tokens: u64,
    /// Whatever of these was refused, or cut off on the way.
    pub refusals: u64,
    /// Changes of policy.
    pub policies: u64,
    /// Jobs that open dead letters.
    pub redrives: u64,
    /// What was recorded of rotations of keys: their begin, and each step.
    pub rotations: u64,
    /// Inits, restores, and what this version does not know.
    pub others: u64,
}

/// Counts by something.
pub type Tally<K> = BTreeMap<K, Counts>;

impl Counts {
    /// What an entry adds by itself; what its pages add comes with them.
    pub(super) fn of(action: &Action, decision: Option<Decision>) -> Self {
        let mut counts = Self::default();
        if decision == Some(Decision::Refused) {
            counts.refusals = 1;
            return counts;
        }
        match action {
            Action::AccessRequest => counts.requests = 1,
            Action::AccessApproval => counts.approvals = 1,
            Action::AccessDenial => counts.denials = 1,
            Action::AccessRevocation => counts.revocations = 1,
            Action::Unmask => counts.reads = 1,
            Action::UnmaskDryRun => counts.dry_runs = 1,
            Action::Lookup => counts.lookups = 1,
            Action::Policy => counts.policies = 1,
            Action::Redrive => counts.redrives = 1,
            Action::UnmaskPage | Action::LookupTokens | Action::RedrivePage => {}
            Action::KeyRotation => counts.rotations = 1,
            Action::Init | Action::Restored | Action::Other(_) => counts.others = 1,
        }
        counts
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.approvals += other.approvals;
        self.denials += other.denials;
        self.revocations += other.revocations;
        self.reads += other.reads;
        self.dry_runs += other.dry_runs;
        self.rows_opened = self.rows_opened.saturating_add(other.rows_opened);
        self.values_opened = self.values_opened.saturating_add(other.values_opened);
        self.rows_failed = self.rows_failed.saturating_add(other.rows_failed);
        self.lookups += other.lookups;
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.refusals += other.refusals;
        self.policies += other.policies;
        self.redrives += other.redrives;
        self.rotations += other.rotations;
        self.others += other.others;
    }
}
