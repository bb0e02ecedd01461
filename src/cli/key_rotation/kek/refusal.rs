use std::fmt;

use serde::Serialize;

use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};

/// Why a rotation is not begun, or a KMS key not retired, and what would help.
#[derive(Debug, Serialize)]
pub(super) struct Refusal {
    pub(super) refused: &'static str,
    pub(super) because: String,
    pub(super) next: String,
}

impl Refusal {
    pub(super) fn tell(&self, format: OutputFormat) -> anyhow::Result<ExitStatus> {
        match format {
            OutputFormat::Human => output::complain(&self.to_string()),
            OutputFormat::Json => output::result(format, &"", self)?,
        }
        Ok(ExitStatus::Refused)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused: {} ({})\nnext: {}", self.because, self.refused, self.next)
    }
}
