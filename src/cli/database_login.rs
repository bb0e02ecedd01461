//! Logins that AWS gives, handed to the database's connections, which know nothing of AWS.

use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::Mutex;

use crate::aws::AwsError;
use crate::aws::client::LazyConfig;
use crate::aws::rds_token::{self, RdsLogin};
use crate::aws::secrets::{self, DatabaseSecret};
use crate::db::{AskedLogin, Login, LoginRequest, LoginSource, TlsMode};

/// A token for each connection. Whoever has it can log in for 15 minutes: it goes through TLS or not at all.
pub(super) fn iam() -> LoginSource {
    let config = Arc::new(LazyConfig::default());
    LoginSource::Asked(AskedLogin {
        ask: Arc::new(move |request| {
            let config = config.clone();
            async move { Ok(iam_login(&config, request).await?) }.boxed()
        }),
        changes: false,
        least_tls: TlsMode::Require,
        default_tls: TlsMode::VerifyFull,
    })
}

/// The secret `arn`, read once, and again after a refusal.
pub(super) fn secret(arn: String) -> LoginSource {
    let state = Arc::new((arn, LazyConfig::default(), Mutex::new(None)));
    LoginSource::Asked(AskedLogin {
        ask: Arc::new(move |request: LoginRequest| {
            let state = state.clone();
            async move {
                let (arn, config, kept) = &*state;
                let mut kept = kept.lock().await;
                if let (Some(login), false) = (&*kept, request.refused) {
                    return Ok(Login::clone(login));
                }
                let login = Login::from(secrets::database_secret(config.get().await, arn).await?);
                Ok(kept.insert(login).clone())
            }
            .boxed()
        }),
        changes: true,
        least_tls: TlsMode::Disable,
        default_tls: TlsMode::Prefer,
    })
}

#[derive(Debug, thiserror::Error)]
enum IamError {
    #[error("IAM authentication needs a host and a user in the database URL: postgres://user@host:5432/database")]
    Incomplete,
    #[error(transparent)]
    Aws(#[from] AwsError),
}

async fn iam_login(config: &LazyConfig, request: LoginRequest) -> Result<Login, IamError> {
    let (Some(host), Some(user)) = (request.host, request.user) else { return Err(IamError::Incomplete) };
    let token = rds_token::token(config.get().await, &RdsLogin { host, port: request.port, user }).await?;
    Ok(Login { password: Some(token), ..Login::default() })
}

impl From<DatabaseSecret> for Login {
    fn from(secret: DatabaseSecret) -> Self {
        Self {
            user: Some(secret.user),
            password: Some(secret.password),
            host: secret.host,
            port: secret.port,
            database: secret.database,
        }
    }
}
