//! Passwords for RDS's IAM authentication: a presigned `rds-db:connect` URL without its scheme, good for 15 minutes.
//!
//! Amazon RDS User Guide, "IAM database authentication". Signing needs no call to AWS.

use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;

use super::{AwsError, AwsFault};

const CALL: &str = "rds-db:connect";
const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// All but RFC 3986's unreserved characters.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Which database user, where.
#[derive(Clone, Debug)]
pub struct RdsLogin {
    /// The instance's own host name: an alias of it does not verify.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database user, a member of `rds_iam`.
    pub user: String,
}

/// A token signed now, with the credentials and for the region of `config`.
///
/// # Errors
/// [`AwsFault::NotConfigured`] without credentials or region.
pub async fn token(config: &SdkConfig, login: &RdsLogin) -> Result<SecretString, AwsError> {
    let missing = || AwsError::new(CALL, AwsFault::NotConfigured);
    let region = config.region().ok_or_else(missing)?;
    let provider = config.credentials_provider().ok_or_else(missing)?;
    let credentials = provider.provide_credentials().await.map_err(|_| missing())?;
    presign(credentials, region.as_ref(), login, SystemTime::now()).ok_or_else(missing)
}

fn presign(credentials: Credentials, region: &str, login: &RdsLogin, at: SystemTime) -> Option<SecretString> {
    let mut settings = SigningSettings::default();
    settings.expires_in = Some(LIFETIME);
    settings.signature_location = SignatureLocation::QueryParams;
    let identity = credentials.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("rds-db")
        .time(at)
        .settings(settings)
        .build()
        .ok()?;
    let user = utf8_percent_encode(&login.user, ESCAPED);
    let address = format!("{}:{}/?Action=connect&DBUser={user}", login.host, login.port);
    let url = format!("https://{address}");
    let request = SignableRequest::new("GET", url.as_str(), std::iter::empty(), SignableBody::Bytes(&[])).ok()?;
    let (instructions, _) = sign(request, &params.into()).ok()?.into_parts();
    let mut token = address;
    let mut signed = instructions.params().to_vec();
    // Last, as in every other SDK; this one puts a session's token behind it.
    signed.sort_by_key(|(name, _)| *name == "X-Amz-Signature");
    for (name, value) in &signed {
        token += &format!("&{name}={}", utf8_percent_encode(value, ESCAPED));
    }
    Some(token.into())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn signed(session_token: Option<&str>, port: u16, user: &str) -> String {
        let credentials = Credentials::new(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            session_token.map(ToOwned::to_owned),
            None,
            "test",
        );
        let host = "logins.abc123.eu-central-1.rds.amazonaws.com".to_owned();
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_370_400);
        let login = RdsLogin { host, port, user: user.to_owned() };
        presign(credentials, "eu-central-1", &login, at).unwrap().expose_secret().to_owned()
    }

    /// What botocore 1.43.106 (`generate_db_auth_token`) makes of the same at 2026-11-22T18:00:00Z.
    #[test]
    fn tokens_are_those_of_botocore() {
        assert_eq!(
            signed(None, 5432, "etl_service"),
            "logins.abc123.eu-central-1.rds.amazonaws.com:5432/?Action=connect&DBUser=etl_service\
             &X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIDEXAMPLE%2F20261122%2Feu-central-1%2Frds-db%2Faws4_request\
             &X-Amz-Date=20261122T180000Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aa2cd072b2a66c90a70e808d3adff95a01091915bbd079567516067c55dc9c06"
        );
        assert_eq!(
            signed(Some("IQoJ/b3J+pZ2lu=="), 6432, "etl service+ä"),
            "logins.abc123.eu-central-1.rds.amazonaws.com:6432/?Action=connect&DBUser=etl%20service%2B%C3%A4\
             &X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIDEXAMPLE%2F20261122%2Feu-central-1%2Frds-db%2Faws4_request\
             &X-Amz-Date=20261122T180000Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host\
             &X-Amz-Security-Token=IQoJ%2Fb3J%2BpZ2lu%3D%3D\
             &X-Amz-Signature=3b46f2e0455464081e699fa46220e2ae0a176e542ec7949fe692d0bc203d02f4"
        );
    }
}
