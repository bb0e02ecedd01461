use std::io;

use crate::aws::{AwsError, AwsFault};
use crate::db::{ConnectError, DbError};

/// Nothing was signed, or what was signed is not stored.
#[derive(Debug, thiserror::Error)]
pub enum NotaryError {
    /// PostgreSQL.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// PostgreSQL.
    #[error(transparent)]
    Db(#[from] DbError),
    /// KMS.
    #[error(transparent)]
    Kms(#[from] AwsError),
    /// A sink, where that is to stop the notary.
    #[error("no copy of checkpoint {seq} in {sink}: {fault}; without one nothing is signed")]
    Sink {
        /// Which.
        sink: String,
        /// The entry.
        seq: i64,
        /// Why.
        fault: SinkFault,
    },
    /// KMS signs with another key than the one that verifies.
    #[error(
        "what KMS signs does not verify under the public key of PII_VAULT_CHECKPOINT_PUBLIC_KEY; one of the two is not \
         the vault's. `pii-vault audit public-key` prints the key of PII_VAULT_SIGNING_KMS_KEY"
    )]
    WrongKey,
    /// Log and checkpoints do not fit together.
    #[error("nothing is signed: {0}")]
    Broken(#[from] Broken),
}

/// Why a copy is not in a sink, or what a sink holds cannot be known.
#[derive(Debug, thiserror::Error)]
pub enum SinkFault {
    /// S3.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The operating system.
    #[error("{}", .0.kind())]
    Io(#[from] io::Error),
    /// It took too long.
    #[error("no answer within 10 s")]
    TimedOut,
    /// There is something under the copy's name that is none, and it is never overwritten.
    #[error("what is there as {0} is no checkpoint of this vault's; move it away once it is known where it came from")]
    Foreign(String),
    /// The same, where it cannot be read.
    #[error("{0} is there already and may not be read from here; whether it is the same is not known")]
    Unreadable(String),
}

/// Log and checkpoints do not fit together: an older database was put back, or somebody altered what is signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The log is shorter than what was signed.
    #[error(
        "{place} has a checkpoint for entry {signed} of the audit log, which ends at entry {head}: an older database \
         was put back, which `pii-vault audit resume` records, or entries were removed"
    )]
    Behind {
        /// Where the checkpoint is.
        place: String,
        /// Its entry.
        signed: i64,
        /// The last entry.
        head: i64,
    },
    /// Two heads for one entry.
    #[error(
        "{place} has a checkpoint for entry {seq} with another hash than the audit log: the log was altered, or this is \
         another copy of the database, or an older one that was put back and went on: see `pii-vault audit resume --help`"
    )]
    OtherHead {
        /// Where the checkpoint is.
        place: String,
        /// Its entry.
        seq: i64,
    },
    /// A checkpoint that is linked to one which the database does not have.
    #[error(
        "{place} has a checkpoint for entry {seq} that follows another checkpoint than the database's last: checkpoints \
         were removed, or this is another copy of the database"
    )]
    OtherPrevious {
        /// Where the checkpoint is.
        place: String,
        /// Its entry.
        seq: i64,
    },
    /// The last checkpoint is not by the key.
    #[error("the signature of the checkpoint for entry {seq} in the database does not verify")]
    NotSigned {
        /// Its entry.
        seq: i64,
    },
    /// An entry is not what its hash says.
    #[error("entry {seq} of the audit log was altered after it was recorded: its hash is not that of what it says")]
    Altered {
        /// The first such entry.
        seq: i64,
    },
    /// An entry is not there.
    #[error("entry {seq} of the audit log is gone")]
    Gone {
        /// The first such entry.
        seq: i64,
    },
    /// An older state of the log is said to be in service again, and it does not fit.
    #[error("entry {seq} of the audit log says that an older state was brought back into service, and {fault}")]
    Restored {
        /// The entry.
        seq: i64,
        /// Why.
        fault: String,
    },
    /// The last entry is not the head.
    #[error("the head of the audit log does not have the hash of its last entry, {seq}")]
    HeadAltered {
        /// The last entry.
        seq: i64,
    },
}

impl NotaryError {
    /// Whether the same may succeed later. `worked`: it did before, so that settings are right, and what a disk or an
    /// identity refuses may be mended while we wait.
    #[must_use]
    pub fn is_transient(&self, worked: bool) -> bool {
        match self {
            Self::Connect(_) => true,
            Self::Sink { fault, .. } => worked || fault.is_transient(),
            Self::Db(error) => error.is_transient(),
            Self::Kms(error) => error.is_transient() || worked && error.may_pass(),
            Self::WrongKey | Self::Broken(_) => false,
        }
    }
}

impl SinkFault {
    /// Whether this process may not read there: no reason not to write.
    pub(super) fn is_denial(&self) -> bool {
        match self {
            Self::Aws(error) => error.fault() == AwsFault::Denied,
            Self::Io(error) => error.kind() == io::ErrorKind::PermissionDenied,
            _ => false,
        }
    }

    fn is_transient(&self) -> bool {
        match self {
            Self::Aws(error) => error.is_transient(),
            Self::TimedOut => true,
            Self::Io(_) | Self::Foreign(_) | Self::Unreadable(_) => false,
        }
    }
}
