//! One line at the bottom of a terminal, and the logs above it.

use std::io::{self, Write};
use std::sync::OnceLock;

use indicatif::{ProgressBar, ProgressStyle};

static LINE: OnceLock<ProgressBar> = OnceLock::new();

/// The line; nothing shows where standard error is no terminal.
pub(super) fn line() -> &'static ProgressBar {
    LINE.get_or_init(|| ProgressBar::new_spinner().with_style(style("{spinner} {msg}")))
}

/// The line with a bar in it, for so many bytes.
pub(super) fn bar(bytes: u64) -> &'static ProgressBar {
    let line = line();
    line.set_length(bytes);
    line.set_style(style("[{bar:30}] {percent}% of {total_bytes}, {eta} left  {msg}"));
    line
}

/// The line with a bar in it, for so many `things`.
pub(super) fn count(length: u64, things: &str) -> &'static ProgressBar {
    let line = line();
    // It may have been cleared, as the end of what came before.
    line.reset();
    line.set_length(length);
    line.set_style(style(&format!("[{{bar:30}}] {{pos}} of {{len}} {things}, {{eta}} left  {{msg}}")));
    line
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
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
