/// What a data key may still be used for. The SQL enum `pii_vault.key_state` says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Made for a rotation: ingestion uses it beside the active one, analysts do not see it yet.
    Pending,
    /// In use.
    Active,
    /// Opens or verifies what is stored, protects nothing new.
    DecryptOnly,
    /// May no longer be used at all; no row refers to it.
    Retired,
}

impl KeyState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Active, Self::DecryptOnly, Self::Retired];

    /// The word in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::DecryptOnly => "decrypt-only",
            Self::Retired => "retired",
        }
    }
}

/// What a key is for: it names the KMS key that wraps it and stands in its encryption context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Seals values of login events.
    Data,
    /// Keys the tokens.
    Token,
    /// Seals the bodies of dead letters.
    DeadLetter,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Data, Self::Token, Self::DeadLetter];

    /// The word in SQL and in the encryption context.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Token => "token",
            Self::DeadLetter => "dead-letter",
        }
    }
}

/// One of the two places that an event has for its tokens, so that a second token key can be filled in beside the
/// first while nothing stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenSlot {
    /// `ip_token_a`, `device_id_token_a`, `token_key_a`.
    A,
    /// `ip_token_b`, `device_id_token_b`, `token_key_b`.
    B,
}

impl TokenSlot {
    /// Both.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// The word in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}
