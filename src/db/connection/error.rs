use rustls::CertificateError;

/// Why there is no connection. PostgreSQL's texts are not passed on; they can quote what was sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL does not parse.
    #[error(
        "DATABASE_URL is no PostgreSQL URL; the form is postgres://user:password@host:5432/database, \
        with @ written as %40 and / as %2F in user and password"
    )]
    Url,
    /// It asks for TLS by a word that is not understood.
    #[error("the sslmode is unknown; it is one of disable, prefer, require, verify-ca, verify-full")]
    TlsMode,
    /// A CA is named, and the mode would let a server pass that has no certificate from it.
    #[error("a CA is named, and sslmode={mode} would not hold the server to it; say sslmode=verify-full")]
    WeakMode {
        /// The mode.
        mode: &'static str,
    },
    /// The login is sent to whoever answers, so somebody must be held to answer.
    #[error(
        "this login needs TLS, and sslmode={mode} does not insist on it; say sslmode=verify-full, and name the CA by --database-ca"
    )]
    NeedsTls {
        /// The mode.
        mode: &'static str,
    },
    /// The file of CA certificates is of no use.
    #[error("the CA file {path} cannot be used: {problem}")]
    Ca {
        /// Its path.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// There is nothing to verify against.
    #[error(
        "this system has no CA certificates; install them (Debian: ca-certificates), or name a CA by --database-ca"
    )]
    NoSystemRoots,
    /// rustls cannot be set up.
    #[error("TLS cannot be set up")]
    Tls,
    /// Nothing answers.
    #[error("PostgreSQL at {at} is out of reach ({cause}); is it running, and is the address right?")]
    Unreachable {
        /// Host and port.
        at: String,
        /// The operating system's word for it.
        cause: String,
    },
    /// TLS is insisted on, and the server has none.
    #[error("PostgreSQL at {at} does not speak TLS, which sslmode insists on; nothing was sent to it")]
    NoTls {
        /// Host and port.
        at: String,
    },
    /// The server could not prove who it is.
    #[error("the certificate of PostgreSQL at {at} is not accepted: {problem}")]
    Certificate {
        /// Host and port.
        at: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The server wants a password and there is none.
    #[error(
        "PostgreSQL at {at} asks for a password, and none is set; put it into DATABASE_URL, PGPASSWORD or a password file (PGPASSFILE)"
    )]
    NoPassword {
        /// Host and port.
        at: String,
    },
    /// The login was refused.
    #[error(
        "PostgreSQL at {at} refused the login (SQLSTATE {code}); check user, password and database{}",
        if code == "28000" { ", and whether the server wants TLS (sslmode) or lets this host in" } else { "" }
    )]
    Login {
        /// Host and port.
        at: String,
        /// The code, PostgreSQL documentation appendix A.
        code: String,
    },
    /// Whatever gives user and password did not.
    #[error("no login for PostgreSQL: {0}")]
    Source(Box<dyn std::error::Error + Send + Sync>),
    /// The database cannot store all text.
    #[error(
        "the database's encoding is not UTF8, so there is text that it cannot store; make one WITH ENCODING 'UTF8'"
    )]
    Encoding,
    /// Neither URL nor login says where PostgreSQL is.
    #[error("nothing says where PostgreSQL is; set DATABASE_URL, without a password: postgres://host:5432/database")]
    NoAddress,
    /// There is no vault in the database.
    #[error("there is no vault in this database; run `pii-vault init`, or check the database in DATABASE_URL")]
    NoVault,
    /// The login may not take on the command's role.
    #[error(
        "this login may not use the role {role}; as an administrator run: GRANT {role} TO <login>; \
         if the role is missing, `pii-vault init` makes it"
    )]
    Role {
        /// The role.
        role: &'static str,
    },
    /// The login may take on none of the roles that would do.
    #[error(
        "this login may use none of the roles {roles}; as an administrator GRANT the one that fits to the login; \
         if they are missing, `pii-vault init` makes them"
    )]
    Roles {
        /// Their names.
        roles: String,
    },
}

impl ConnectError {
    /// Class 28: who logs in, or by which password, is wrong.
    pub(super) fn is_refused_login(&self) -> bool {
        matches!(self, Self::Login { code, .. } if code.starts_with("28"))
    }

    pub(super) fn of(error: &tokio_postgres::Error, at: String) -> Self {
        if let Some(code) = error.code() {
            return Self::Login { at, code: code.code().to_owned() };
        }
        if let Some(tls) = find(error) {
            return match certificate_problem(tls) {
                Some(problem) => Self::Certificate { at, problem },
                None => Self::Unreachable { at, cause: "the TLS handshake failed".to_owned() },
            };
        }
        if let Some(io) = find::<std::io::Error>(error) {
            return Self::Unreachable { at, cause: io.kind().to_string() };
        }
        // tokio-postgres has no kinds for these two; their texts are its own and quote nothing.
        match std::error::Error::source(error).map(ToString::to_string).as_deref() {
            Some("server does not support TLS") => Self::NoTls { at },
            Some("password missing") => Self::NoPassword { at },
            _ => Self::Unreachable { at, cause: "no connection".to_owned() },
        }
    }
}

/// An error of this type among the causes. An `io::Error` hides what it wraps from `source`.
fn find<T: std::error::Error + 'static>(error: &tokio_postgres::Error) -> Option<&T> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        source = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

fn certificate_problem(error: &rustls::Error) -> Option<&'static str> {
    let rustls::Error::InvalidCertificate(error) = error else { return None };
    Some(match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "no CA that is trusted here has signed it; name the file of its CA by --database-ca"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another host name; connect by the name in it"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; is this machine's clock right?"
        }
        CertificateError::Revoked => "it was revoked",
        _ => "it is none of a server (X.509 version 3, its host among the subject alternative names)",
    })
}
