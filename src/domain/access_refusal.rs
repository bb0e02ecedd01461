/// Why access is refused. The SQL enum `pii_vault.access_refusal` says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccessRefusal {
    /// An argument is missing, empty, too long or of no use.
    Malformed,
    /// No policy is set, so nothing opens.
    NoPolicy,
    /// The case id is not as policy has it.
    CaseForm,
    /// Nothing says which rows.
    NoSelector,
    /// More rows than a receipt holds.
    TooManyRows,
    /// More values than can be asked for.
    TooManyValues,
    /// Longer than policy lets a grant last.
    TooLong,
    /// There is no request of this id.
    UnknownRequest,
    /// Nobody decides on what she asked for.
    OwnRequest,
    /// Another asked for it.
    NotYours,
    /// Decided by this person already, or denied or revoked.
    AlreadyDecided,
    /// It is granted: revoke it instead.
    AlreadyGranted,
    /// There is no grant of this id and officer.
    UnknownGrant,
    /// The request still waits for approvals.
    NotApproved,
    /// An approver denied the request.
    Denied,
    /// The grant was taken back.
    Revoked,
    /// The grant's time is over.
    Expired,
    /// The grant is for another case.
    OtherCase,
    /// The grant is for other fields.
    OtherFields,
    /// The grant has not as many values left.
    UsedUp,
    /// More than an officer may open alone in 24 hours.
    AloneLimit,
    /// The receipt is older than ten minutes.
    Stale,
    /// The receipt was not armed in a committed transaction.
    NotArmed,
    /// The receipt's record is not known to be on disk yet.
    NotDurable,
    /// No checkpoint covers the receipt, and policy asks for one.
    NoCheckpoint,
}

impl AccessRefusal {
    /// All of them.
    pub const ALL: [Self; 25] = [
        Self::Malformed,
        Self::NoPolicy,
        Self::CaseForm,
        Self::NoSelector,
        Self::TooManyRows,
        Self::TooManyValues,
        Self::TooLong,
        Self::UnknownRequest,
        Self::OwnRequest,
        Self::NotYours,
        Self::AlreadyDecided,
        Self::AlreadyGranted,
        Self::UnknownGrant,
        Self::NotApproved,
        Self::Denied,
        Self::Revoked,
        Self::Expired,
        Self::OtherCase,
        Self::OtherFields,
        Self::UsedUp,
        Self::AloneLimit,
        Self::Stale,
        Self::NotArmed,
        Self::NotDurable,
        Self::NoCheckpoint,
    ];

    /// The word in SQL, in the audit log and in JSON.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NoPolicy => "no_policy",
            Self::CaseForm => "case_form",
            Self::NoSelector => "no_selector",
            Self::TooManyRows => "too_many_rows",
            Self::TooManyValues => "too_many_values",
            Self::TooLong => "too_long",
            Self::UnknownRequest => "unknown_request",
            Self::OwnRequest => "own_request",
            Self::NotYours => "not_yours",
            Self::AlreadyDecided => "already_decided",
            Self::AlreadyGranted => "already_granted",
            Self::UnknownGrant => "unknown_grant",
            Self::NotApproved => "not_approved",
            Self::Denied => "denied",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::OtherCase => "other_case",
            Self::OtherFields => "other_fields",
            Self::UsedUp => "used_up",
            Self::AloneLimit => "alone_limit",
            Self::Stale => "stale",
            Self::NotArmed => "not_armed",
            Self::NotDurable => "not_durable",
            Self::NoCheckpoint => "no_checkpoint",
        }
    }

    /// The refusal of this word.
    #[must_use]
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.code() == code)
    }
}
