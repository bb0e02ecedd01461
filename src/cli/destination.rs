use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{output, progress};

/// Where rows go: standard output, or a new file.
pub(super) struct Destination {
    file: Option<(PathBuf, File)>,
    on_terminal: bool,
}

impl Destination {
    /// Makes the file. What is there already is never written to, nor followed where it is a link.
    pub(super) fn open(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self { file: None, on_terminal: false }) };
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = made.with_context(|| match path.symlink_metadata().map_err(|error| error.kind()) {
            Ok(_) => format!("{} is there already, and is not overwritten; choose another name", path.display()),
            Err(ErrorKind::NotFound) => format!("making {}", path.display()),
            Err(_) => format!("making {}", path.display()),
        })?;
        Ok(Self { file: Some((path, file)), on_terminal: false })
    }

    pub(super) fn is_standard(&self) -> bool {
        self.file.is_none()
    }

    /// What writes to it.
    pub(super) fn writer(&mut self) -> anyhow::Result<Box<dyn Write + Send>> {
        if let Some((path, file)) = &self.file {
            let file = file.try_clone().with_context(|| format!("opening {}", path.display()))?;
            return Ok(Box::new(file));
        }
        let (out, is_terminal) = output::data().context("standard output")?;
        self.on_terminal = is_terminal;
        Ok(out)
    }

    /// Draws how far it is, unless rows stand where it would be drawn.
    pub(super) fn progress(&self, done: u64, of: u64, things: &str) {
        if !self.on_terminal {
            progress::count(of, things).set_position(done);
        }
    }

    /// Sees that the file is on disk; one that nothing was written to goes, unless the run is `complete`.
    pub(super) fn close(&self, complete: bool) -> anyhow::Result<()> {
        progress::line().finish_and_clear();
        let Some((path, file)) = &self.file else { return Ok(()) };
        if !complete && file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
            return fs::remove_file(path).with_context(|| format!("removing {}, which is empty", path.display()));
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = File::open(parent).and_then(|folder| folder.sync_all());
        file.sync_all().and(folder).with_context(|| format!("{} may not be on disk yet", path.display()))
    }
}
