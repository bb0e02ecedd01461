use std::fmt;

use diesel::result::{DatabaseErrorKind, Error};

/// A statement failed. Says which and what sort of fault; PostgreSQL's own words stay in the server's log.
#[derive(Debug)]
pub struct DbError {
    statement: &'static str,
    fault: Fault,
}

/// What sort of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is gone, or none could be made.
    Unreachable,
    /// Another transaction was in the way; trying again helps.
    Conflict,
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
        matches!(self.fault, Fault::Unreachable | Fault::Conflict | Fault::Refused)
    }

    pub(super) fn new(statement: &'static str, fault: Fault) -> Self {
        Self { statement, fault }
    }

    /// For `map_err`: names the statement.
    pub(super) fn during(statement: &'static str) -> impl Fn(Error) -> Self {
        move |error| Self { statement, fault: fault(&error) }
    }
}

/// What `?` meets inside of `Connection::transaction`: beginning and committing have no name of their own.
impl From<Error> for DbError {
    fn from(error: Error) -> Self {
        Self { statement: "a transaction", fault: fault(&error) }
    }
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.fault {
            Fault::Unreachable => "PostgreSQL is out of reach",
            Fault::Conflict => "another transaction was in the way",
            Fault::Constraint => "the schema refused a row",
            Fault::Refused => "PostgreSQL refused; its server log says why",
            Fault::Missing => "a row that must be there is missing; did `pii-vault init` run?",
            Fault::Unreadable => "a row holds what this version does not understand; is a newer one in use?",
        };
        write!(f, "{}: {what}", self.statement)
    }
}

impl std::error::Error for DbError {}

fn fault(error: &Error) -> Fault {
    match error {
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
