//! IAM that means it: an endpoint whose SQS and KMS let nobody do what no policy allows.
//!
//! ministack with `AUTH=true`. It knows no condition on an encryption context, so what is proven here is the fence of
//! the key ARNs; and no ReEncrypt, which it answers with `InvalidAction` where it is allowed.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use aws_sdk_kms::config::{BehaviorVersion, Credentials, Region};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::endpoint::{Endpoint, find_python};

/// The region of everything here.
pub(crate) const REGION: &str = "us-east-1";

/// One account at the endpoint, which sees nothing of the others.
pub(crate) struct Account<'a> {
    endpoint: &'a Endpoint,
    pub(crate) id: String,
}

/// Who is to be made, with the one policy that they get.
#[derive(Serialize)]
pub(crate) struct Principal {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) policy: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    User,
    /// Comes back as credentials of a session that assumed it.
    Role,
}

/// Credentials of the endpoint, which are gone with it.
#[derive(Clone, Deserialize)]
pub(crate) struct Keys {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) session_token: Option<String>,
}

impl<'a> Account<'a> {
    /// A new account with a number of its own.
    pub(crate) fn new(endpoint: &'a Endpoint) -> Result<Self> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).context("no random numbers")?;
        Ok(Self { endpoint, id: format!("{:012}", u64::from_le_bytes(bytes) % 1_000_000_000_000) })
    }

    /// Who may do everything.
    pub(crate) fn root(&self) -> Keys {
        Keys { access_key_id: self.id.clone(), secret_access_key: "any-will-do".to_owned(), session_token: None }
    }

    /// Makes users and roles, and returns the credentials of each.
    pub(crate) fn make(&self, principals: &[Principal]) -> Result<Vec<Keys>> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stack/identities.py");
        let mut process = Command::new(find_python()?)
            .arg(script)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let request = json!({ "endpoint": self.endpoint.url(), "account": self.id, "principals": principals });
        process.stdin.take().context("no standard input")?.write_all(request.to_string().as_bytes())?;
        let output = process.wait_with_output()?;
        ensure!(output.status.success(), "identities.py: {}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    pub(crate) fn kms(&self, keys: &Keys) -> aws_sdk_kms::Client {
        let config = aws_sdk_kms::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .region(Region::new(REGION))
            .endpoint_url(self.endpoint.url())
            .credentials_provider(keys.credentials());
        aws_sdk_kms::Client::from_conf(config.build())
    }

    pub(crate) fn sqs(&self, keys: &Keys) -> aws_sdk_sqs::Client {
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .region(Region::new(REGION))
            .endpoint_url(self.endpoint.url())
            .credentials_provider(keys.credentials());
        aws_sdk_sqs::Client::from_conf(config.build())
    }

    /// The environment of a program that is to act under these credentials.
    pub(crate) fn environment(&self, keys: &Keys) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ENDPOINT_URL_SQS", self.endpoint.url()),
            ("AWS_ENDPOINT_URL_KMS", self.endpoint.url()),
            ("AWS_ACCESS_KEY_ID", keys.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", keys.secret_access_key.clone()),
            ("AWS_SESSION_TOKEN", keys.session_token.clone().unwrap_or_default()),
        ]
    }
}

impl Keys {
    fn credentials(&self) -> Credentials {
        let token = self.session_token.clone();
        Credentials::new(&self.access_key_id, &self.secret_access_key, token, None, "identities.py")
    }
}

/// A policy of `keys/`, with its placeholders filled in: `${NAME}`, as envsubst does.
pub(crate) fn policy(path: &str, placeholders: &[(&str, &str)]) -> Result<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("keys").join(path);
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let filled = placeholders.iter().fold(text, |text, (name, value)| text.replace(&format!("${{{name}}}"), value));
    ensure!(!filled.contains("${"), "{} has a placeholder that was not filled in:\n{filled}", path.display());
    Ok(serde_json::from_str(&filled)?)
}
