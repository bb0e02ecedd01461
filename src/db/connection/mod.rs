mod error;
mod listen;
mod login;
mod passfile;
mod pool;
mod tls;
mod url;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::Config;
use tokio_postgres::config::Host;
use tokio_postgres_rustls::MakeRustlsConnect;

pub use error::ConnectError;
pub use listen::Listener;
pub use login::{AskLogin, AskedLogin, Login, LoginRequest, LoginSource};
pub use pool::Pool;
pub use tls::{Roots, TlsMode};

/// A connection, under one role.
pub type Connection = AsyncPgConnection;

/// The role that a command takes on for each of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The administrator's own login; `init` changes roles by itself.
    Administrator,
    /// `retention`, `doctor`, `access policy set`
    Owner,
    /// `etl run`
    Ingest,
    /// `etl dead-letters`
    Redrive,
    /// `unmask`, `access request`
    Unmask,
    /// `lookup`
    Lookup,
    /// `access approve`, `access deny`, `access revoke`
    Approver,
    /// `audit`
    Auditor,
    /// `audit notary`, `audit checkpoint`
    Notary,
    /// `key-rotation kek`
    Rewrap,
    /// `key-rotation data-key`, `key-rotation token-key`
    Reseal,
}

impl Role {
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Administrator => None,
            Self::Owner => Some("pii_vault_owner"),
            Self::Ingest => Some("pii_vault_ingest"),
            Self::Redrive => Some("pii_vault_redrive"),
            Self::Unmask => Some("pii_vault_unmask"),
            Self::Lookup => Some("pii_vault_lookup"),
            Self::Approver => Some("pii_vault_approver"),
            Self::Auditor => Some("pii_vault_auditor"),
            Self::Notary => Some("pii_vault_notary"),
            Self::Rewrap => Some("pii_vault_rewrap"),
            Self::Reseal => Some("pii_vault_reseal"),
        }
    }
}

/// A message is deleted once its row is committed, so a commit must be on disk, whatever the database's default.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false) \
                       WHERE current_setting('synchronous_commit') = 'off'";

/// What the audit log notes as this client's claim.
const CLAIM: &str = "SELECT set_config('pii_vault.host', coalesce($1, ''), false), \
                     set_config('pii_vault.version', $2, false)";

/// For each host, until it has let us in; `connect_timeout` in the URL changes it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// In the catalog, which every role can read.
const VAULT_EXISTS: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n \
                            ON n.oid = c.relnamespace WHERE n.nspname = 'pii_vault' AND c.relname = 'vault')";

/// Where PostgreSQL is, who logs in, and how the connection is protected.
#[derive(Clone)]
pub struct Server(Arc<Settings>);

struct Settings {
    config: Config,
    mode: TlsMode,
    connector: MakeRustlsConnect,
    login: LoginSource,
    claimed_host: Option<String>,
}

/// What is said beside the URL.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// The mode, where the URL names none.
    pub mode: Option<TlsMode>,
    /// The CA, whatever the URL names.
    pub roots: Option<Roots>,
    /// The CA, where neither of both names one.
    pub default_roots: Option<Roots>,
    /// Where the login comes from.
    pub login: LoginSource,
    /// The name of this host, for the audit log.
    pub claimed_host: Option<String>,
}

impl Server {
    /// Parses a `postgres://` URL or libpq's `word=value` form. No part of it shows in an error.
    ///
    /// # Errors
    /// [`ConnectError`]: the URL does not parse, or TLS cannot be as it is asked for.
    pub fn parse(url: &SecretString) -> Result<Self, ConnectError> {
        Self::new(url, Beside::default())
    }

    /// The same, with what is said beside it. The URL may lack what a [`LoginSource::Asked`] answers.
    ///
    /// # Errors
    /// As [`Server::parse`].
    pub fn new(url: &SecretString, beside: Beside) -> Result<Self, ConnectError> {
        let (rest, words) = url::take(url.expose_secret())?;
        let mut config: Config = rest.parse().map_err(|_| ConnectError::Url)?;
        let login = match (beside.login, words.passfile) {
            (LoginSource::Url | LoginSource::PasswordFile(_), Some(path)) => LoginSource::PasswordFile(path.into()),
            (login, _) => login,
        };
        let (least_tls, default_tls) = login.tls();
        if config.get_hosts().is_empty() && !login.may_know_the_host() {
            return Err(ConnectError::Url);
        }
        // A socket's file permissions protect it; libpq does not look at sslmode there either.
        // With a hostaddr, that is dialled, whatever the host.
        let local = config.get_hostaddrs().is_empty()
            && !config.get_hosts().is_empty()
            && config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        let roots =
            beside.roots.or(words.sslrootcert.map(|path| Roots::from(PathBuf::from(path)))).or(beside.default_roots);
        let named = words.sslmode.map(|word| word.parse()).transpose()?.or(beside.mode);
        let mode = match local {
            true => TlsMode::Disable,
            false => tls::mode(named, roots.as_ref(), default_tls)?,
        };
        if mode < least_tls {
            return Err(ConnectError::NeedsTls { mode: mode.word() });
        }
        let connector = tls::connector(mode, roots.as_ref())?;
        config.ssl_mode(mode.ssl_mode());
        // A server that vanished without a word must not hold a batch for hours.
        config.keepalives_idle(Duration::from_secs(30));
        config.tcp_user_timeout(Duration::from_secs(30));
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_application_name().is_none() {
            config.application_name("pii-vault");
        }
        Ok(Self(Arc::new(Settings { config, mode, connector, login, claimed_host: beside.claimed_host })))
    }

    /// Whether the URL holds a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.0.config.get_password().is_some()
    }

    /// How much its connections are protected. What came of `Prefer`, [`super::encryption`] tells.
    #[must_use]
    pub fn tls_mode(&self) -> TlsMode {
        self.0.mode
    }

    /// Opens one connection under `role`.
    ///
    /// # Errors
    /// [`ConnectError`], each with what to do next.
    pub async fn connect(&self, role: Role) -> Result<Connection, ConnectError> {
        self.connect_as_first(&[role]).await
    }

    /// Opens one connection under the first of these roles that the login may take on.
    ///
    /// # Errors
    /// As [`Server::connect`].
    pub async fn connect_as_first(&self, roles: &[Role]) -> Result<Connection, ConnectError> {
        let client = match self.log_in(false).await {
            // The password may have been rotated since it was read.
            Err(error) if error.is_refused_login() && self.0.login.changes() => self.log_in(true).await?,
            result => result?,
        };
        let broken = |error: tokio_postgres::Error| ConnectError::of(&error, address(&self.0.config));
        // The administrator's own login is no role.
        let names: Vec<_> = roles.iter().filter_map(|role| role.name()).collect();
        if !names.is_empty() {
            if !take_on(&client, &names).await.map_err(broken)? {
                return Err(match names.as_slice() {
                    [role] => ConnectError::Role { role },
                    names => ConnectError::Roles { roles: names.join(", ") },
                });
            }
            let found = client.query_one(VAULT_EXISTS, &[]).await.map_err(broken)?;
            if !found.get::<_, bool>(0) {
                return Err(ConnectError::NoVault);
            }
        }
        client.execute(CLAIM, &[&self.0.claimed_host, &env!("CARGO_PKG_VERSION")]).await.map_err(broken)?;
        let encoding = client.query_one("SHOW server_encoding", &[]).await.map_err(broken)?;
        if encoding.get::<_, &str>(0) != "UTF8" {
            return Err(ConnectError::Encoding);
        }
        AsyncPgConnection::try_from(client).await.map_err(|_| ConnectError::Unreachable {
            at: address(&self.0.config),
            cause: "the connection broke while it was set up".to_owned(),
        })
    }

    async fn log_in(&self, refused: bool) -> Result<tokio_postgres::Client, ConnectError> {
        let config = self.0.login.complete(&self.0.config, refused).await?;
        let timeout = config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
        let hosts = u32::try_from(config.get_hosts().len()).unwrap_or(1);
        // tokio-postgres's own timeout ends where the socket is open; a server may be silent from then on.
        let connecting = tokio::time::timeout(timeout * hosts, config.connect(self.0.connector.clone()));
        let connected = connecting
            .await
            .map_err(|_| ConnectError::Unreachable { at: address(&config), cause: "timed out".to_owned() })?;
        let (client, driver) = connected.map_err(|error| ConnectError::of(&error, address(&config)))?;
        tokio::spawn(driver);
        Ok(client)
    }
}

/// Whether the login may take on one of these, the first of which it then has.
async fn take_on(client: &tokio_postgres::Client, roles: &[&str]) -> Result<bool, tokio_postgres::Error> {
    for role in roles {
        match client.batch_execute(&format!("SET ROLE {role}; {DURABLE}")).await {
            Ok(()) => return Ok(true),
            Err(error) if error.code().is_some() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({})", address(&self.0.config))
    }
}

fn address(config: &Config) -> String {
    let port = login::first_port(config);
    match login::first_host(config) {
        Some(host) => format!("{host}:{port}"),
        None => format!("a local socket, port {port}"),
    }
}
