/// What an entry of the audit log is about. The SQL enum `pii_vault.audit_action` says the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The schema was made or brought up to date.
    Init,
    /// What may be opened was set.
    Policy,
    /// A grant was asked for.
    AccessRequest,
    /// A request was approved.
    AccessApproval,
    /// A request was denied.
    AccessDenial,
    /// A grant was taken back, or a request withdrawn.
    AccessRevocation,
    /// A receipt, or its refusal.
    Unmask,
    /// What a receipt would hold.
    UnmaskDryRun,
    /// What became of rows of a receipt.
    UnmaskPage,
    /// Values are to be turned into tokens.
    Lookup,
    /// The tokens of a look-up.
    LookupTokens,
    /// Dead letters are to be opened.
    Redrive,
    /// What became of them.
    RedrivePage,
    /// A key is rotated, or what became of its rotation.
    KeyRotation,
    /// An older state of the database was brought back into service.
    Restored,
    /// One that this version does not know, by its word.
    Other(String),
}

/// What was decided about what was asked for. The SQL enum `pii_vault.audit_decision` says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It was.
    Allowed,
    /// It was not.
    Refused,
}

impl Action {
    /// All that this version knows.
    pub const KNOWN: [Self; 15] = [
        Self::Init,
        Self::Policy,
        Self::AccessRequest,
        Self::AccessApproval,
        Self::AccessDenial,
        Self::AccessRevocation,
        Self::Unmask,
        Self::UnmaskDryRun,
        Self::UnmaskPage,
        Self::Lookup,
        Self::LookupTokens,
        Self::Redrive,
        Self::RedrivePage,
        Self::KeyRotation,
        Self::Restored,
    ];

    /// The word in SQL, in the hash and in JSON.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Init => "init",
            Self::Policy => "policy",
            Self::AccessRequest => "access_request",
            Self::AccessApproval => "access_approval",
            Self::AccessDenial => "access_denial",
            Self::AccessRevocation => "access_revocation",
            Self::Unmask => "unmask",
            Self::UnmaskDryRun => "unmask_dry_run",
            Self::UnmaskPage => "unmask_page",
            Self::Lookup => "lookup",
            Self::LookupTokens => "lookup_tokens",
            Self::Redrive => "redrive",
            Self::RedrivePage => "redrive_page",
            Self::KeyRotation => "key_rotation",
            Self::Restored => "restored",
            Self::Other(name) => name,
        }
    }

    /// The action of this word, whether this version knows it or not.
    #[must_use]
    pub fn of_name(name: String) -> Self {
        Self::KNOWN.into_iter().find(|known| known.name() == name).unwrap_or(Self::Other(name))
    }
}

impl Decision {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Allowed, Self::Refused];

    /// The word in SQL, in the hash and in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Refused => "refused",
        }
    }
}
