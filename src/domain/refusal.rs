use std::fmt;

/// Why a message is a dead letter: the words of the SQL enum `pii_vault.dead_letter_reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The body is not JSON (RFC 8259).
    InvalidJson,
    /// JSON, but no object.
    NotAnObject,
    /// A key stands twice; which value was meant cannot be known.
    DuplicateKey,
    /// An extra member is nested deeper than 64 levels.
    TooDeep,
    /// A member is missing.
    MissingField,
    /// A member is null that must not be.
    NullField,
    /// A member is not a string.
    WrongType,
    /// A string holds a lone UTF-16 surrogate and is no Unicode text.
    LoneSurrogate,
    /// A string holds U+0000, which PostgreSQL's text cannot.
    NulCharacter,
    /// A string is longer than its column.
    TooLong,
    /// A string is empty that must not be.
    Empty,
    /// `ip` is no IPv4 or IPv6 address.
    InvalidIp,
}

impl Reason {
    /// All of them, in the order in which a body is checked.
    pub const ALL: [Self; 12] = [
        Self::InvalidJson,
        Self::NotAnObject,
        Self::DuplicateKey,
        Self::TooDeep,
        Self::MissingField,
        Self::NullField,
        Self::WrongType,
        Self::LoneSurrogate,
        Self::NulCharacter,
        Self::TooLong,
        Self::Empty,
        Self::InvalidIp,
    ];

    /// The machine-readable word.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::NotAnObject => "not_an_object",
            Self::DuplicateKey => "duplicate_key",
            Self::TooDeep => "too_deep",
            Self::MissingField => "missing_field",
            Self::NullField => "null_field",
            Self::WrongType => "wrong_type",
            Self::LoneSurrogate => "lone_surrogate",
            Self::NulCharacter => "nul_character",
            Self::TooLong => "too_long",
            Self::Empty => "empty",
            Self::InvalidIp => "invalid_ip",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A member of a login event's JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Member {
    /// `user_id`
    UserId,
    /// `app_version`
    AppVersion,
    /// `device_type`
    DeviceType,
    /// `ip`
    Ip,
    /// `locale`
    Locale,
    /// `device_id`
    DeviceId,
}

impl Member {
    /// All of them, in the order in which they are checked.
    pub const ALL: [Self; 6] =
        [Self::UserId, Self::AppVersion, Self::DeviceType, Self::Ip, Self::Locale, Self::DeviceId];

    /// Its key in the object.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::UserId => "user_id",
            Self::AppVersion => "app_version",
            Self::DeviceType => "device_type",
            Self::Ip => "ip",
            Self::Locale => "locale",
            Self::DeviceId => "device_id",
        }
    }
}

/// Why a body is no login event: a reason and, where one member is to blame, which. Never what it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub reason: Reason,
    /// The member, where one is to blame.
    pub member: Option<Member>,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, member: None }
    }
}
