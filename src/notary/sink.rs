//! Where copies of checkpoints go: out of the reach of who owns the database.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::directory;
use super::error::SinkFault;
use crate::aws::S3Folder;

/// For a directory; S3 has limits of its own.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Writes a copy where it is collected, a line with its line feed.
pub type WriteLine = Arc<dyn Fn(&str) -> io::Result<()> + Send + Sync>;

/// A place for copies, to which they are only ever added.
#[derive(Clone)]
pub enum Sink {
    /// Files of a directory.
    Directory(PathBuf),
    /// Objects of a bucket.
    S3 {
        /// Where.
        folder: S3Folder,
        /// For people.
        url: String,
    },
    /// Lines, of which nothing can be read back.
    Lines(WriteLine),
}

impl Sink {
    /// `false`: something of this name is there, and stays as it is.
    pub(super) async fn add(&self, name: &str, copy: &str) -> Result<bool, SinkFault> {
        match self {
            Self::Directory(path) => {
                let (path, name, copy) = (path.clone(), name.to_owned(), copy.to_owned());
                in_time(move || directory::add(&path, &name, &copy)).await
            }
            Self::S3 { folder, .. } => Ok(folder.add(name, copy).await?),
            Self::Lines(write) => {
                write(copy)?;
                Ok(true)
            }
        }
    }

    /// `None`: there is none. Of lines nothing is known.
    pub(super) async fn read(&self, name: &str) -> Result<Option<Vec<u8>>, SinkFault> {
        match self {
            Self::Directory(path) => {
                let (path, name) = (path.clone(), name.to_owned());
                in_time(move || directory::read(&path, &name)).await
            }
            Self::S3 { folder, .. } => Ok(folder.read(name).await?),
            Self::Lines(_) => Ok(None),
        }
    }

    /// The names that sort after `name`.
    pub(super) async fn names_after(&self, name: &str) -> Result<Vec<String>, SinkFault> {
        match self {
            Self::Directory(path) => {
                let (path, name) = (path.clone(), name.to_owned());
                in_time(move || directory::names_after(&path, &name)).await
            }
            Self::S3 { folder, .. } => Ok(folder.names_after(name).await?),
            Self::Lines(_) => Ok(Vec::new()),
        }
    }
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "{}", path.display()),
            Self::S3 { url, .. } => f.write_str(url),
            Self::Lines(_) => f.write_str("standard output"),
        }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sink({self})")
    }
}

/// A file system over a network may not answer.
async fn in_time<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, SinkFault> {
    match tokio::time::timeout(TIMEOUT, tokio::task::spawn_blocking(work)).await {
        Err(_) => Err(SinkFault::TimedOut),
        Ok(Err(_)) => Err(SinkFault::Io(io::ErrorKind::Other.into())),
        Ok(Ok(result)) => Ok(result?),
    }
}
