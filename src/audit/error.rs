use std::io;

use super::copies::CopiesError;
use crate::db::DbError;

/// Nothing can be said of the log.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It could not be read.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The copies of checkpoints could not be read.
    #[error(transparent)]
    Copies(#[from] CopiesError),
    /// The export could not be read.
    #[error("reading the export")]
    Io(#[from] io::Error),
    /// It does not begin as one.
    #[error("this is no export of an audit log; `pii-vault audit export` makes one")]
    NotAnExport,
}
