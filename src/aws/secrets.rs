//! Database logins in Secrets Manager, in the JSON form that RDS and its rotation functions keep.
//!
//! AWS Secrets Manager User Guide, "JSON structure of secrets": `{"username", "password", "host", "port", "dbname",
//! "engine"}`. A secret that RDS manages itself holds the first two alone.

use aws_config::SdkConfig;
use secrecy::SecretString;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{AwsError, AwsFault};

const CALL: &str = "secretsmanager:GetSecretValue";

/// A login, with as much of the address as the secret holds.
#[derive(Clone, Debug)]
pub struct DatabaseSecret {
    /// The user. Rotation with alternating users changes it.
    pub user: String,
    /// Its password.
    pub password: SecretString,
    /// The host.
    pub host: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The database.
    pub database: Option<String>,
}

/// Why there is no login.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The call.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// It is something else.
    #[error(
        "the secret holds no database login; it must be JSON like \
         {{\"username\": …, \"password\": …, \"host\": …, \"port\": 5432, \"dbname\": …}}"
    )]
    Form,
    /// It is of another database system.
    #[error("the secret is of a database that is no PostgreSQL, by its \"engine\"")]
    Engine,
}

/// The secret's current version.
///
/// # Errors
/// [`SecretError`]; nothing of the secret shows in it.
pub async fn database_secret(config: &SdkConfig, arn: &str) -> Result<DatabaseSecret, SecretError> {
    let client = aws_sdk_secretsmanager::Client::new(config);
    let answer = client.get_secret_value().secret_id(arn).send().await.map_err(AwsError::during(CALL))?;
    let text = Zeroizing::new(answer.secret_string.ok_or(AwsError::new(CALL, AwsFault::Malformed))?);
    read(&text)
}

#[derive(Deserialize)]
struct Stored {
    username: String,
    password: String,
    host: Option<String>,
    port: Option<Port>,
    dbname: Option<String>,
    engine: Option<String>,
}

/// Secrets made by hand have both.
#[derive(Deserialize)]
#[serde(untagged)]
enum Port {
    Number(u16),
    Text(String),
}

fn read(text: &str) -> Result<DatabaseSecret, SecretError> {
    let stored: Stored = serde_json::from_str(text).map_err(|_| SecretError::Form)?;
    let password = SecretString::from(stored.password);
    if stored.engine.is_some_and(|engine| !engine.contains("postgres")) {
        return Err(SecretError::Engine);
    }
    let port = match stored.port {
        None => None,
        Some(Port::Number(port)) => Some(port),
        Some(Port::Text(port)) => Some(port.parse().map_err(|_| SecretError::Form)?),
    };
    Ok(DatabaseSecret { user: stored.username, password, host: stored.host, port, database: stored.dbname })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn both_forms_of_rds_are_read() {
        let full = r#"{"username":"u","password":"p\"ä","engine":"aurora-postgresql","host":"h","port":"6432","dbname":"d","dbInstanceIdentifier":"x"}"#;
        let secret = read(full).unwrap();
        assert_eq!((secret.user.as_str(), secret.password.expose_secret()), ("u", "p\"ä"));
        assert_eq!(
            (secret.host.as_deref(), secret.port, secret.database.as_deref()),
            (Some("h"), Some(6432), Some("d"))
        );
        let managed = read(r#"{"username":"u","password":"p"}"#).unwrap();
        assert_eq!((managed.host, managed.port, managed.database), (None, None, None));
    }

    #[test]
    fn what_is_no_login_is_not_repeated() {
        for text in ["geheim", r#"{"password":"geheim"}"#, r#"{"username":"u","password":7,"x":"geheim"}"#] {
            let error = read(text).unwrap_err();
            assert!(matches!(error, SecretError::Form) && !format!("{error:?} {error}").contains("geheim"));
        }
        let mysql = r#"{"username":"u","password":"geheim","engine":"mysql"}"#;
        assert!(matches!(read(mysql), Err(SecretError::Engine)));
    }
}
