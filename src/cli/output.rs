//! The one writer of results and complaints.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal as _, StdoutLock, Write};
use std::os::fd::AsFd as _;

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
///
/// # Errors
/// Where standard output is closed, or no file can be opened any more.
pub(super) fn data() -> io::Result<(Box<dyn Write + Send>, bool)> {
    let out = io::stdout();
    let is_terminal = out.is_terminal();
    // Past Rust's buffer of standard output, which is never wiped.
    let past_buffer = File::from(out.as_fd().try_clone_to_owned()?);
    Ok((Box::new(past_buffer), is_terminal))
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

/// Writes results one after the other, as they come: for people, or as one JSON array with a line for each.
pub(super) struct Stream {
    out: BufWriter<StdoutLock<'static>>,
    format: OutputFormat,
    written: u64,
}

impl Stream {
    pub(super) fn start(format: OutputFormat) -> Self {
        Self { out: BufWriter::new(io::stdout().lock()), format, written: 0 }
    }

    /// How many were written.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// `title` goes before the first, for people.
    pub(super) fn write(&mut self, title: &str, human: &impl Display, json: &impl Serialize) -> anyhow::Result<()> {
        let first = self.written == 0;
        match self.format {
            OutputFormat::Human if first => writeln!(self.out, "{title}\n{human}")?,
            OutputFormat::Human => writeln!(self.out, "{human}")?,
            OutputFormat::Json => {
                self.out.write_all(if first { b"[" } else { b",\n" })?;
                serde_json::to_writer(&mut self.out, json).map_err(io::Error::from)?;
            }
        }
        self.written += 1;
        Ok(())
    }

    /// What is not ended is no JSON: a reader notices that it lacks the rest.
    pub(super) fn end(mut self) -> anyhow::Result<()> {
        if self.format == OutputFormat::Json {
            self.out.write_all(if self.written == 0 { b"[]\n" } else { b"]\n" })?;
        }
        self.out.flush()?;
        Ok(())
    }
}

/// Writes lines that somebody collects to standard output, as they are.
pub(super) fn lines(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes a sentence for a person to standard error. There is nobody to tell where that fails.
pub(super) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether who reads our standard output has gone away: not worth a word.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
