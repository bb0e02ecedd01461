//! Who logs in, and by which password, asked for anew before each connection.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::{ConnectError, TlsMode, passfile};

/// What is known of a connection before its login.
#[derive(Clone, Debug)]
pub struct LoginRequest {
    /// The host name that the URL gives; the first, if there are several.
    pub host: Option<String>,
    /// Its port.
    pub port: u16,
    /// The user that the URL gives.
    pub user: Option<String>,
    /// Whether the server has just refused what was given before.
    pub refused: bool,
}

/// An answer. What is given here goes before the URL for user and password, and after it for the address.
#[derive(Clone, Debug, Default)]
pub struct Login {
    /// The user.
    pub user: Option<String>,
    /// The password, or what stands for one.
    pub password: Option<SecretString>,
    /// The host.
    pub host: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The database.
    pub database: Option<String>,
}

/// Asks for a login.
pub type AskLogin =
    Arc<dyn Fn(LoginRequest) -> BoxFuture<'static, Result<Login, Box<dyn Error + Send + Sync>>> + Send + Sync>;

/// Where logins come from.
#[derive(Clone, Default)]
pub enum LoginSource {
    /// From the URL, else from a password, else from libpq's password file.
    #[default]
    Url,
    /// The URL's user with this password.
    Password(SecretString),
    /// The URL's user, with a password looked up in this file.
    PasswordFile(PathBuf),
    /// From elsewhere, for each connection.
    Asked(AskedLogin),
}

/// A login from elsewhere.
#[derive(Clone)]
pub struct AskedLogin {
    /// Answers.
    pub ask: AskLogin,
    /// Whether it is worth asking again when the server has refused an answer.
    pub changes: bool,
    /// The least TLS under which an answer may be sent.
    pub least_tls: TlsMode,
    /// TLS where nothing else is said.
    pub default_tls: TlsMode,
}

impl LoginSource {
    /// The configuration of one connection.
    pub(super) async fn complete(&self, config: &Config, refused: bool) -> Result<Config, ConnectError> {
        let mut config = config.clone();
        match self {
            Self::Url => {}
            Self::Password(password) => give_password(&mut config, Some(password)),
            Self::PasswordFile(path) => {
                let found = from_file(path, &config);
                give_password(&mut config, found.as_ref());
            }
            Self::Asked(asked) => {
                let request = LoginRequest {
                    host: first_host(&config),
                    port: first_port(&config),
                    user: config.get_user().map(ToOwned::to_owned),
                    refused,
                };
                let login = (asked.ask)(request).await.map_err(ConnectError::Source)?;
                take_over(&mut config, &login);
            }
        }
        if config.get_hosts().is_empty() { Err(ConnectError::NoAddress) } else { Ok(config) }
    }

    /// The least TLS, and the TLS where nothing else is said.
    pub(super) fn tls(&self) -> (TlsMode, TlsMode) {
        match self {
            Self::Asked(asked) => (asked.least_tls, asked.default_tls),
            _ => (TlsMode::Disable, TlsMode::Prefer),
        }
    }

    pub(super) fn may_know_the_host(&self) -> bool {
        matches!(self, Self::Asked(_))
    }

    pub(super) fn changes(&self) -> bool {
        matches!(self, Self::Asked(asked) if asked.changes)
    }
}

impl fmt::Debug for LoginSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url => "Url",
            Self::Password(_) => "Password",
            Self::PasswordFile(_) => "PasswordFile",
            Self::Asked(_) => "Asked",
        })
    }
}

fn give_password(config: &mut Config, password: Option<&SecretString>) {
    if let (None, Some(password)) = (config.get_password(), password) {
        config.password(password.expose_secret());
    }
}

fn take_over(config: &mut Config, login: &Login) {
    if let Some(user) = &login.user {
        config.user(user);
    }
    if let Some(password) = &login.password {
        config.password(password.expose_secret());
    }
    if let (true, Some(host)) = (config.get_hosts().is_empty(), &login.host) {
        config.host(host);
        if let (true, Some(port)) = (config.get_ports().is_empty(), login.port) {
            config.port(port);
        }
    }
    if let (None, Some(database)) = (config.get_dbname(), &login.database) {
        config.dbname(database);
    }
}

/// One password goes to all hosts of the URL, so it is only found where all of them have the same.
fn from_file(path: &std::path::Path, config: &Config) -> Option<SecretString> {
    let user = config.get_user()?;
    let mut passwords = config.get_hosts().iter().enumerate().map(|(index, host)| {
        let port = config.get_ports().get(index).copied().unwrap_or_else(|| first_port(config));
        let folder;
        let hosts: &[&str] = match host {
            Host::Tcp(host) => &[host],
            Host::Unix(path) => {
                folder = path.to_string_lossy();
                &[&folder, "localhost"]
            }
        };
        passfile::password(path, passfile::Entry { hosts, port, database: config.get_dbname().unwrap_or(user), user })
    });
    let first = passwords.next()??;
    let same = |other: Option<SecretString>| other.is_some_and(|other| other.expose_secret() == first.expose_secret());
    passwords.all(same).then(|| first.clone())
}

pub(super) fn first_host(config: &Config) -> Option<String> {
    match config.get_hosts().first()? {
        Host::Tcp(host) => Some(host.clone()),
        Host::Unix(_) => None,
    }
}

pub(super) fn first_port(config: &Config) -> u16 {
    config.get_ports().first().copied().unwrap_or(5432)
}
