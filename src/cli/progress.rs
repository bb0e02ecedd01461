//! One line at the bottom of a terminal, and the logs above it.

use std::io::{self, Write};
use std::sync::OnceLock;

use indicatif::{ProgressBar, ProgressStyle};

static LINE: OnceLock<ProgressBar> = OnceLock::new();

/// Starts the line; nothing shows where standard error is no terminal.
pub(super) fn start() -> &'static ProgressBar {
    LINE.get_or_init(|| {
        let style =
            ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        ProgressBar::new_spinner().with_style(style)
    })
}

/// Standard error for logs: lifts the line while it writes.
pub(super) struct AboveLine;

impl Write for AboveLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let write = || io::stderr().lock().write_all(bytes);
        LINE.get().map_or_else(write, |line| line.suspend(write))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
