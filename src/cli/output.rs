//! The one writer of results and complaints.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal as _, Write};

use clap::ValueEnum;
use serde::Serialize;

/// How results are written: for people, or as one JSON value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    #[default]
    Human,
    Json,
}

/// Writes a result to standard output.
pub(super) fn result(format: OutputFormat, human: &impl Display, json: &impl Serialize) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match format {
        OutputFormat::Human => write!(out, "{human}")?,
        OutputFormat::Json => {
            serde_json::to_writer(&mut out, json).map_err(io::Error::from)?;
            writeln!(out)?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Standard output for what is no result but the data itself, and whether a terminal shows it.
pub(super) fn data() -> (Box<dyn Write + Send>, bool) {
    let out = io::stdout();
    let is_terminal = out.is_terminal();
    (Box::new(out), is_terminal)
}

/// Writes what is said of data that went to standard output: to standard error. There is nobody to tell where that
/// fails.
pub(super) fn beside_data(format: OutputFormat, human: &impl Display, json: &impl Serialize) {
    let mut out = io::stderr().lock();
    let _ = match format {
        OutputFormat::Human => write!(out, "{human}"),
        OutputFormat::Json => {
            serde_json::to_writer(&mut out, json).map_err(io::Error::from).and_then(|()| writeln!(out))
        }
    };
}

/// Writes a sentence for a person to standard error. There is nobody to tell where that fails.
pub(super) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether who reads our standard output has gone away: not worth a word.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
