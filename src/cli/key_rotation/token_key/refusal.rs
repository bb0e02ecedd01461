//! Why nothing is done about the token key, and what would help.

use std::fmt;

use serde::Serialize;

use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::db::rotation::tokens::TokenRefusal;

#[derive(Serialize)]
struct Refused {
    refused: &'static str,
    because: &'static str,
    next: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused: {} ({})\nnext: {}", self.because, self.refused, self.next)
    }
}

/// Says why, and returns the exit status of a refusal.
pub(super) fn refused(refusal: TokenRefusal, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    const STATUS: &str = "pii-vault key-rotation status shows how far it is";
    let (refused, because, next) = match refusal {
        TokenRefusal::Unfinished => ("unfinished_rotation", "another rotation of the token key is not done", STATUS),
        TokenRefusal::SlotInUse => (
            "slot_in_use",
            "rows have tokens in the slot of the next key",
            "finish the rotation that left them there: pii-vault key-rotation token-key finish",
        ),
        TokenRefusal::KeysHeld => (
            "keys_are_held",
            "a transaction has held the token keys for some seconds",
            "try again; pii-vault doctor names who holds them",
        ),
        TokenRefusal::Over => {
            ("rotation_over", "somebody has finished the rotation meanwhile, or rolled it back", STATUS)
        }
        TokenRefusal::NotFilled => (
            "not_filled",
            "no rotation of the token key has filled its rows, and is not finished",
            "pii-vault key-rotation token-key run fills them; key-rotation status shows how far it is",
        ),
    };
    let refused = Refused { refused, because, next };
    match format {
        OutputFormat::Human => output::complain(&refused.to_string()),
        OutputFormat::Json => output::result(format, &"", &refused)?,
    }
    Ok(ExitStatus::Refused)
}
