use std::fmt;

use diesel::result::{DatabaseErrorKind, Error};

use crate::domain::AccessRefusal;

/// A statement failed. Says which and what sort of fault; PostgreSQL's own words stay in the server's log.
#[derive(Debug)]
pub struct DbError {
    statement: &'static str,
    fault: Fault,
    refusal: Option<AccessRefusal>,
}

/// What sort of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is gone, or none could be made.
    Unreachable,
    /// Another transaction was in the way; trying again helps.
    Conflict,
    /// Another transaction holds the audit log, and nothing is done that cannot be recorded.
    LogHeld,
    /// The KMS key that wraps the key is retired.
    KmsKeyRetired,
    /// The rotation is in other hands, or over: whoever worked on it has no more to do.
    RotationOver,
    /// The row breaks a rule of the schema.
    Constraint,
    /// PostgreSQL refused; its log says why.
    Refused,
    /// A row that must be there is not.
    Missing,
    /// A row holds what this version does not understand.
    Unreadable,
}

impl DbError {
    /// What sort of fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// Whether the same statement may succeed later without anybody changing it. A refusal counts: a server that is
    /// starting, full, or read-only during a fail-over refuses too, and diesel does not tell its code.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.refusal.is_none()
            && matches!(self.fault, Fault::Unreachable | Fault::Conflict | Fault::LogHeld | Fault::Refused)
    }

    /// Why a function of the vault's hands out nothing, where that is what happened.
    #[must_use]
    pub fn refusal(&self) -> Option<AccessRefusal> {
        self.refusal
    }

    pub(super) fn new(statement: &'static str, fault: Fault) -> Self {
        Self { statement, fault, refusal: None }
    }

    /// A row holds what it cannot hold.
    pub(crate) fn unreadable(statement: &'static str) -> Self {
        Self::new(statement, Fault::Unreadable)
    }

    /// For `map_err`: names the statement.
    pub(super) fn during(statement: &'static str) -> impl Fn(Error) -> Self {
        move |error| Self { statement, fault: fault(&error), refusal: refusal(&error) }
    }
}

/// What `?` meets inside of `Connection::transaction`: beginning and committing have no name of their own.
impl From<Error> for DbError {
    fn from(error: Error) -> Self {
        Self { statement: "a transaction", fault: fault(&error), refusal: None }
    }
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(refusal) = self.refusal {
            return write!(f, "{}: refused ({})", self.statement, refusal.code());
        }
        let what = match self.fault {
            Fault::Unreachable => "PostgreSQL is out of reach",
            Fault::Conflict => "another transaction was in the way",
            Fault::LogHeld => {
                "another transaction has held the audit log for some seconds, and what cannot be recorded is not done; \
                 try again. `pii-vault doctor`, which an administrator runs, names who holds it"
            }
            Fault::KmsKeyRetired => {
                "the KMS key that wrapped it is retired in this vault. Use the one that its keys were moved to: point the \
                 alias at it, or set PII_VAULT_DATA_KMS_KEY, PII_VAULT_TOKEN_KMS_KEY or PII_VAULT_DEAD_LETTER_KMS_KEY, and \
                 start again"
            }
            Fault::RotationOver => "the rotation is over: somebody has finished it, rolled it back, or given it up",
            Fault::Constraint => "the schema refused a row",
            Fault::Refused => "PostgreSQL refused; its server log says why",
            Fault::Missing => "a row that must be there is missing; did `pii-vault init` run?",
            Fault::Unreadable => "a row holds what this version does not understand; is a newer one in use?",
        };
        write!(f, "{}: {what}", self.statement)
    }
}

impl std::error::Error for DbError {}

/// The functions of the vault's say the word where PostgreSQL names a constraint: a client gets it without the
/// sentence.
fn refusal(error: &Error) -> Option<AccessRefusal> {
    word(error).and_then(AccessRefusal::of_code)
}

/// What stands where PostgreSQL names a constraint.
pub(super) fn word(error: &Error) -> Option<&str> {
    match error {
        Error::DatabaseError(_, information) => information.constraint_name(),
        _ => None,
    }
}

fn fault(error: &Error) -> Fault {
    match error {
        // By `audit_lock`; diesel does not tell SQLSTATE 55P03.
        Error::DatabaseError(_, information) if information.constraint_name() == Some("log_is_held") => Fault::LogHeld,
        Error::DatabaseError(_, information) if information.constraint_name() == Some("kms_key_retired") => {
            Fault::KmsKeyRetired
        }
        Error::DatabaseError(_, information) if information.constraint_name() == Some("rotation_over") => {
            Fault::RotationOver
        }
        Error::DatabaseError(kind, information) => match kind {
            DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand => Fault::Unreachable,
            DatabaseErrorKind::SerializationFailure => Fault::Conflict,
            // Of a partition: alone among checks it has no name. The row was on its way to the default partition when
            // its month got a partition of its own; it goes there at the next try.
            DatabaseErrorKind::CheckViolation if information.constraint_name().is_none() => Fault::Conflict,
            DatabaseErrorKind::UniqueViolation
            | DatabaseErrorKind::ForeignKeyViolation
            | DatabaseErrorKind::NotNullViolation
            | DatabaseErrorKind::CheckViolation
            | DatabaseErrorKind::ExclusionViolation
            | DatabaseErrorKind::RestrictViolation => Fault::Constraint,
            _ => Fault::Refused,
        },
        Error::BrokenTransactionManager => Fault::Unreachable,
        Error::NotFound => Fault::Missing,
        Error::DeserializationError(_) | Error::SerializationError(_) => Fault::Unreadable,
        _ => Fault::Refused,
    }
}
