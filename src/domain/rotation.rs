/// Which kind of key is rotated. The SQL enum `pii_vault.rotation_kind` says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RotationKind {
    /// Wrapped keys are wrapped anew, by KMS.
    Kek,
    /// Values are sealed anew.
    DataKey,
    /// Values get tokens of a new key.
    TokenKey,
}

/// How far a rotation is. The SQL enum `pii_vault.rotation_step` says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RotationStep {
    /// Keys are wrapped anew, rows sealed anew, or the other token slot is filled.
    Work,
    /// Of a token key: nothing is left to fill.
    Filled,
    /// Of a token key: the view shows the new tokens.
    CutOver,
    /// Of a token key: the slot that is out of use is emptied.
    Emptying,
    /// Nothing is left.
    Done,
    /// Not of a token key: somebody gave it up, and what was done stays done.
    Abandoned,
}

/// Why a row or key is passed over. The SQL enum `pii_vault.rotation_failure` says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RotationFailure {
    /// Its data key is not there, or retired.
    KeyMissing,
    /// KMS knows the wrapped key as altered, moved or another's.
    KeyDoesNotUnwrap,
    /// The key is not the one that was stored.
    KeyCommitment,
    /// Shorter than the stored form.
    TooShort,
    /// Of another version of the stored form.
    UnknownVersion,
    /// Sealed later than its key was in use.
    StepAboveMaximum,
    /// Altered, moved to another row, or sealed under another key.
    NotAuthentic,
    /// What sealing never makes.
    MalformedPlaintext,
    /// It opens, and its old token is not the one of its value.
    TokenMismatch,
}

impl RotationKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Kek, Self::DataKey, Self::TokenKey];

    /// The word in SQL and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kek => "kek",
            Self::DataKey => "data-key",
            Self::TokenKey => "token-key",
        }
    }
}

impl RotationStep {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Work, Self::Filled, Self::CutOver, Self::Emptying, Self::Done, Self::Abandoned];

    /// The word in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Filled => "filled",
            Self::CutOver => "cut_over",
            Self::Emptying => "emptying",
            Self::Done => "done",
            Self::Abandoned => "abandoned",
        }
    }

    /// Whether there are rows or keys to work on.
    #[must_use]
    pub fn is_work(self) -> bool {
        matches!(self, Self::Work | Self::Emptying)
    }
}

impl RotationFailure {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::KeyMissing,
        Self::KeyDoesNotUnwrap,
        Self::KeyCommitment,
        Self::TooShort,
        Self::UnknownVersion,
        Self::StepAboveMaximum,
        Self::NotAuthentic,
        Self::MalformedPlaintext,
        Self::TokenMismatch,
    ];

    /// The word in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KeyMissing => "key_missing",
            Self::KeyDoesNotUnwrap => "key_does_not_unwrap",
            Self::KeyCommitment => "key_commitment",
            Self::TooShort => "too_short",
            Self::UnknownVersion => "unknown_version",
            Self::StepAboveMaximum => "step_above_maximum",
            Self::NotAuthentic => "not_authentic",
            Self::MalformedPlaintext => "malformed_plaintext",
            Self::TokenMismatch => "token_mismatch",
        }
    }
}
