//! Copies in a directory: each is written whole and synced before it has its name, and none is written over.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

/// `false`: there is a file of this name, which stays as it is.
pub(super) fn add(directory: &Path, name: &str, content: &str) -> io::Result<bool> {
    let unfinished = directory.join(format!(".{name}.{}", std::process::id()));
    let written = write(&unfinished, content).and_then(|()| match fs::hard_link(&unfinished, directory.join(name)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    });
    // Also where it could not be written. What a crash leaves has no name that anybody reads.
    let removed = fs::remove_file(&unfinished);
    let new = written?;
    removed?;
    File::open(directory)?.sync_all()?;
    Ok(new)
}

/// `None`: there is no such file.
pub(super) fn read(directory: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    match fs::read(directory.join(name)) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound && directory.is_dir() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names that sort after `name`.
pub(super) fn names_after(directory: &Path, name: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.extend(entry?.file_name().into_string().ok().filter(|found| found.as_str() > name));
    }
    Ok(names)
}

fn write(path: &Path, content: &str) -> io::Result<()> {
    // Of a process of the same number that crashed.
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}
