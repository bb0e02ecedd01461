/// What became of a request for a grant. The SQL enum `pii_vault.access_state` says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccessState {
    /// Waits for approvals.
    Pending,
    /// Permits reading.
    Granted,
    /// Did so for its time.
    Expired,
    /// By an approver.
    Denied,
    /// By an approver, or by who asked.
    Revoked,
}

impl AccessState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Granted, Self::Expired, Self::Denied, Self::Revoked];

    /// The word in SQL, on the command line and in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Granted => "granted",
            Self::Expired => "expired",
            Self::Denied => "denied",
            Self::Revoked => "revoked",
        }
    }
}

/// What an approver says to a request. The SQL enum `pii_vault.access_verdict` says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It may be.
    Approved,
    /// It may not; that is final.
    Denied,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Approved, Self::Denied];

    /// The word in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Denied => "denied",
        }
    }
}

/// Whether a read waits for a signed checkpoint. The SQL enum `pii_vault.checkpoint_policy` says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckpointPolicy {
    /// Nothing is handed out before one covers its receipt.
    Required,
    /// They come when they come.
    Scheduled,
}

impl CheckpointPolicy {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Required, Self::Scheduled];

    /// The word in SQL, on the command line and in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Scheduled => "scheduled",
        }
    }
}
