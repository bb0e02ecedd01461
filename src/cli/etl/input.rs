use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use clap::builder::NonEmptyStringValueParser;
use time::Date;
use time::macros::format_description;

use crate::cli::config::usage;
use crate::etl::LineFile;

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Back-fill from a file")]
pub(super) struct InputArgs {
    /// Read JSON lines from FILE, plain or gzip, instead of a queue; - is standard input
    #[arg(long, value_name = "FILE|-", requires = "date",
          conflicts_with_all = ["queue_url", "drain", "max_messages", "visibility_timeout", "wait"])]
    input: Option<PathBuf>,
    /// The UTC day of these logins, half of a line's identity
    #[arg(long, value_name = "YYYY-MM-DD", requires = "input", value_parser = day)]
    date: Option<Date>,
    /// The other half, with the line's number; the file's name without its folder if not given
    #[arg(long, value_name = "NAME", requires = "input", value_parser = NonEmptyStringValueParser::new())]
    source: Option<String>,
    /// Go on with line N
    #[arg(long, value_name = "N", requires = "input", default_value = "1",
          value_parser = clap::value_parser!(u64).range(1..))]
    from_line: u64,
}

/// A file that was opened.
pub(super) struct Input {
    pub(super) file: LineFile,
    pub(super) size: Option<u64>,
    /// How many of its bytes were read.
    pub(super) read: Arc<AtomicU64>,
}

impl InputArgs {
    /// `None` where no file was asked for.
    pub(super) fn open(self) -> anyhow::Result<Option<Input>> {
        let (Some(path), Some(date)) = (self.input, self.date) else { return Ok(None) };
        let is_standard = path.as_os_str() == "-";
        let name = if is_standard { None } else { path.file_name().and_then(|name| name.to_str()).map(str::to_owned) };
        let Some(source) = self.source.or(name) else {
            return usage(
                "--source is missing: standard input, and a file whose name is no UTF-8, need a name, which becomes \
                 part of each line's identity",
            );
        };
        let (input, size): (Box<dyn Read + Send>, _) = if is_standard {
            (Box::new(io::stdin()), None)
        } else {
            let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
            let metadata = file.metadata().with_context(|| format!("opening {}", path.display()))?;
            (Box::new(file), metadata.is_file().then_some(metadata.len()))
        };
        let read = Arc::new(AtomicU64::default());
        let counted = Counted { input, read: read.clone() };
        Ok(Some(Input { file: LineFile::new(Box::new(counted), source, date, self.from_line), size, read }))
    }
}

struct Counted {
    input: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.read.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(count)
    }
}

fn day(text: &str) -> Result<Date, &'static str> {
    Date::parse(text, format_description!("[year]-[month]-[day]"))
        .ok()
        .filter(|day| day.year() >= 1)
        .ok_or("a day is YYYY-MM-DD, like 2025-03-09")
}
