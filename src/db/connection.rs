use std::sync::Arc;
use std::time::Duration;

use diesel::ConnectionError;
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, bb8};
use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::NoTls;
use tokio_postgres::config::Host;

use super::{DbError, Fault};

/// A connection, under one role.
pub type Connection = AsyncPgConnection;

/// The role that a command takes on for each of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The administrator's own login; `init` changes roles by itself.
    Administrator,
    /// `retention`, `doctor`
    Owner,
    /// `etl run`
    Ingest,
    /// `etl dead-letters`
    Redrive,
}

impl Role {
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Administrator => None,
            Self::Owner => Some("pii_vault_owner"),
            Self::Ingest => Some("pii_vault_ingest"),
            Self::Redrive => Some("pii_vault_redrive"),
        }
    }
}

/// A message is deleted once its row is committed, so a commit must be on disk, whatever the database's default.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false) \
                       WHERE current_setting('synchronous_commit') = 'off'";

/// In the catalog, which every role can read.
const VAULT_EXISTS: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n \
                            ON n.oid = c.relnamespace WHERE n.nspname = 'pii_vault' AND c.relname = 'vault')";

/// Where PostgreSQL is and who logs in.
#[derive(Clone)]
pub struct Server(Arc<tokio_postgres::Config>);

/// Why there is no connection. PostgreSQL's texts are not passed on; they can quote what was sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL does not parse.
    #[error("DATABASE_URL is no PostgreSQL URL; the form is postgres://user:password@host:5432/database")]
    Url,
    /// It asks for TLS by a word that is not understood.
    #[error(
        "DATABASE_URL asks for TLS, which this version does not speak yet; use sslmode=disable and a local or tunnelled server"
    )]
    Tls,
    /// Nothing answers.
    #[error("PostgreSQL at {at} is out of reach ({cause}); is it running, and is the address right?")]
    Unreachable {
        /// Host and port.
        at: String,
        /// The operating system's word for it.
        cause: String,
    },
    /// The login was refused.
    #[error(
        "PostgreSQL at {at} refused the login (SQLSTATE {code}); check user, password and database in DATABASE_URL"
    )]
    Login {
        /// Host and port.
        at: String,
        /// The code, PostgreSQL documentation appendix A.
        code: String,
    },
    /// The database cannot store all text.
    #[error(
        "the database's encoding is not UTF8, so there is text that it cannot store; make one WITH ENCODING 'UTF8'"
    )]
    Encoding,
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
}

impl Server {
    /// Parses a `postgres://` URL. No part of it shows in an error.
    ///
    /// # Errors
    /// [`ConnectError::Url`] or [`ConnectError::Tls`].
    pub fn parse(url: &SecretString) -> Result<Self, ConnectError> {
        let url = url.expose_secret();
        if ["sslmode=require", "sslmode=verify-ca", "sslmode=verify-full"].iter().any(|mode| url.contains(mode)) {
            return Err(ConnectError::Tls);
        }
        let mut config: tokio_postgres::Config = url.parse().map_err(|_| ConnectError::Url)?;
        if config.get_hosts().is_empty() {
            return Err(ConnectError::Url);
        }
        // A server that vanished without a word must not hold a batch for hours.
        config.connect_timeout(Duration::from_secs(10)).keepalives_idle(Duration::from_secs(30));
        config.tcp_user_timeout(Duration::from_secs(30));
        if config.get_application_name().is_none() {
            config.application_name("pii-vault");
        }
        Ok(Self(Arc::new(config)))
    }

    /// Whether the URL holds a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.0.get_password().is_some()
    }

    /// Opens one connection under `role`.
    ///
    /// # Errors
    /// [`ConnectError`], each with what to do next.
    pub async fn connect(&self, role: Role) -> Result<Connection, ConnectError> {
        let (client, driver) = self.0.connect(NoTls).await.map_err(|error| self.refused(&error))?;
        tokio::spawn(driver);
        if let Some(role) = role.name() {
            client.batch_execute(&format!("SET ROLE {role}; {DURABLE}")).await.map_err(|error| match error.code() {
                Some(_) => ConnectError::Role { role },
                None => self.refused(&error),
            })?;
            let found = client.query_one(VAULT_EXISTS, &[]).await.map_err(|error| self.refused(&error))?;
            if !found.get::<_, bool>(0) {
                return Err(ConnectError::NoVault);
            }
        }
        let encoding = client.query_one("SHOW server_encoding", &[]).await.map_err(|error| self.refused(&error))?;
        if encoding.get::<_, &str>(0) != "UTF8" {
            return Err(ConnectError::Encoding);
        }
        AsyncPgConnection::try_from(client).await.map_err(|_| ConnectError::Unreachable {
            at: self.address(),
            cause: "the connection broke while it was set up".to_owned(),
        })
    }

    /// A pool of connections under `role`, opened as they are needed.
    ///
    /// # Errors
    /// [`ConnectError`] from a first connection, so that a wrong setting is told at once and exactly.
    pub async fn pool(&self, role: Role, size: u32) -> Result<Pool, ConnectError> {
        drop(self.connect(role).await?);
        let server = self.clone();
        let mut config = ManagerConfig::default();
        config.custom_setup = Box::new(move |_| {
            let server = server.clone();
            Box::pin(async move {
                server.connect(role).await.map_err(|error| ConnectionError::BadConnection(error.to_string()))
            })
        });
        let manager = AsyncDieselConnectionManager::new_with_config("", config);
        let pool = bb8::Pool::builder()
            .max_size(size)
            // The pool goes on trying in any case; who waits is told soon that something is out of order.
            .connection_timeout(Duration::from_secs(3))
            .build_unchecked(manager);
        Ok(Pool(pool))
    }

    fn refused(&self, error: &tokio_postgres::Error) -> ConnectError {
        let at = self.address();
        match error.code() {
            Some(code) => ConnectError::Login { at, code: code.code().to_owned() },
            None => ConnectError::Unreachable { at, cause: io_cause(error) },
        }
    }

    fn address(&self) -> String {
        let port = self.0.get_ports().first().copied().unwrap_or(5432);
        match self.0.get_hosts().first() {
            Some(Host::Tcp(host)) => format!("{host}:{port}"),
            _ => format!("a local socket, port {port}"),
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({})", self.address())
    }
}

/// Connections of a long-running command.
#[derive(Clone)]
pub struct Pool(bb8::Pool<AsyncPgConnection>);

impl Pool {
    /// Takes a connection, waiting 3 s at most.
    ///
    /// # Errors
    /// [`Fault::Unreachable`].
    pub async fn get(&self) -> Result<bb8::PooledConnection<'_, AsyncPgConnection>, DbError> {
        self.0.get().await.map_err(|_| DbError::new("taking a connection", Fault::Unreachable))
    }
}

/// The system's word for why, e.g. `connection refused`: the `ErrorKind`, which quotes nothing.
fn io_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut source = Some(error);
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return io.kind().to_string();
        }
        source = error.source();
    }
    "no connection".to_owned()
}
