/// Why a sealed value did not open. Says nothing about what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Shorter than a header and a tag.
    #[error("too short to be a sealed value")]
    TooShort,
    /// Sealed by a later version.
    #[error("sealed in a format that this version does not know")]
    UnknownVersion,
    /// The step is above the maximum that is stored with the key.
    #[error("the step is above the key's maximum")]
    StepAboveMaximum,
    /// Altered, moved, or sealed under another key.
    #[error("not what was sealed for this row, column and key")]
    NotAuthentic,
    /// Authentic, but not a plaintext that sealing makes.
    #[error("opened, but the plaintext is malformed")]
    MalformedPlaintext,
}
