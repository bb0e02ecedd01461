//! The SDK's configuration: the environment's, over one HTTP client with one TLS stack.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, SdkConfig};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use tokio::sync::OnceCell;

/// The environment's settings, as the SDK has them.
pub type Config = SdkConfig;

/// The longest that SQS holds a poll open.
pub const LONGEST_POLL: Duration = Duration::from_secs(20);

/// The environment's settings, read when they are first needed.
#[derive(Debug, Default)]
pub struct LazyConfig(OnceCell<SdkConfig>);

impl LazyConfig {
    /// The settings.
    pub async fn get(&self) -> &SdkConfig {
        self.0.get_or_init(load).await
    }
}

/// Reads the environment's `AWS_*` settings: credentials, region, endpoints, retries.
pub async fn load() -> SdkConfig {
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    // A long poll is silent while it waits; only what is silent for longer is broken.
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .read_timeout(LONGEST_POLL + Duration::from_secs(10))
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http).timeout_config(timeouts);
    if let Ok(name) = AppName::new("pii-vault") {
        loader = loader.app_name(name);
    }
    loader.load().await
}
