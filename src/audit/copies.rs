//! Copies of checkpoints in directories, in the order of their entries.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::crypto::checkpoint::SignedCheckpoint;

/// A copy is below 1 KiB.
const LONGEST: u64 = 64 * 1024;

/// A directory of copies cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("reading the checkpoints in {}", path.display())]
pub struct CopiesError {
    path: PathBuf,
    source: io::Error,
}

/// Those that were not looked at yet. Only their names are in memory.
#[derive(Debug)]
pub(super) struct Copies(BTreeSet<(i64, PathBuf)>);

/// A file whose name is that of a copy.
pub(super) struct Copy {
    /// The entry that its name is for.
    pub(super) seq: i64,
    pub(super) place: String,
    /// `None`: it is no copy, or for another entry than its name is.
    pub(super) signed: Option<SignedCheckpoint>,
}

impl Copies {
    /// Lists them. What has another name than copies have is passed over: a copy that is being written has one.
    pub(super) fn list(directories: &[PathBuf]) -> Result<Self, CopiesError> {
        let mut copies = BTreeSet::new();
        for directory in directories {
            let failed = |source| CopiesError { path: directory.clone(), source };
            for file in std::fs::read_dir(directory).map_err(failed)? {
                let name = file.map_err(failed)?.file_name();
                if let Some(seq) = name.to_str().and_then(SignedCheckpoint::seq_of) {
                    copies.insert((seq, directory.join(name)));
                }
            }
        }
        Ok(Self(copies))
    }

    /// The next one, if it is for an entry up to `seq`.
    pub(super) fn next_through(&mut self, seq: i64) -> Result<Option<Copy>, CopiesError> {
        if self.0.first().is_none_or(|(next, _)| *next > seq) {
            return Ok(None);
        }
        let Some((seq, path)) = self.0.pop_first() else { return Ok(None) };
        let content = read(&path).map_err(|source| CopiesError { path: path.clone(), source })?;
        let signed = SignedCheckpoint::from_copy(&content).ok().filter(|signed| signed.checkpoint.seq == seq);
        Ok(Some(Copy { seq, place: path.display().to_string(), signed }))
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut content)?;
    Ok(content)
}
