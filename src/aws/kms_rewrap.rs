//! Wrapping a wrapped key anew, inside of KMS.

use std::time::Duration;

use aws_config::AppName;
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::primitives::Blob;
use uuid::Uuid;

use super::{AwsError, AwsFault, EncryptionContext, Kms, KmsKeys};

/// A key as KMS wrapped it anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrapped {
    /// The KMS ciphertext blob.
    pub wrapped: Vec<u8>,
    /// ARN of the KMS key that wrapped it: what stays true when an alias moves.
    pub kms_key: String,
    /// Whether the material that had wrapped it is the one that wraps now. `None`: KMS does not tell.
    pub same_material: Option<bool>,
}

/// Wraps wrapped keys anew.
pub trait KeyRewrapper: Send + Sync + 'static {
    /// Wraps a key that the KMS key `from` (ARN) wrapped under the context by the KMS key `to` (alias, id or ARN), under
    /// the same context and its newest material.
    ///
    /// # Errors
    /// [`AwsError`].
    fn rewrap(
        &self,
        from: &str,
        wrapped: &[u8],
        context: EncryptionContext,
        to: &str,
    ) -> impl Future<Output = Result<Rewrapped, AwsError>> + Send;
}

impl Kms {
    /// KMS for one job of the audit log, under whose name its calls stand in CloudTrail: the app name, a part of the user
    /// agent, is `pv-job-` and the job; `None`: for what is not recorded. It is for wrapping anew alone.
    #[must_use]
    pub fn for_rewrap(config: &aws_config::SdkConfig, job: Option<Uuid>) -> Self {
        // A call that hangs must not outlast anybody's patience.
        let timeouts = TimeoutConfig::builder().operation_timeout(Duration::from_secs(10)).build();
        let mut config = aws_sdk_kms::config::Builder::from(config).timeout_config(timeouts);
        if let Some(name) = job.and_then(|job| AppName::new(format!("pv-job-{job}")).ok()) {
            config = config.app_name(name);
        }
        Self { client: aws_sdk_kms::Client::from_conf(config.build()), keys: KmsKeys::default() }
    }
}

impl KeyRewrapper for Kms {
    /// `ReEncrypt`, with the KMS key of both sides named.
    async fn rewrap(
        &self,
        from: &str,
        wrapped: &[u8],
        context: EncryptionContext,
        to: &str,
    ) -> Result<Rewrapped, AwsError> {
        const CALL: &str = "kms:ReEncrypt";
        let answer = self
            .client
            .re_encrypt()
            .source_key_id(from)
            .ciphertext_blob(Blob::new(wrapped))
            .set_source_encryption_context(Some(context.pairs()))
            .destination_key_id(to)
            .set_destination_encryption_context(Some(context.pairs()))
            .send()
            .await
            .map_err(AwsError::during(CALL))?;
        let materials = answer.source_key_material_id.zip(answer.destination_key_material_id);
        Ok(Rewrapped {
            wrapped: answer.ciphertext_blob.map(Blob::into_inner).ok_or(AwsError::new(CALL, AwsFault::Malformed))?,
            kms_key: answer.key_id.ok_or(AwsError::new(CALL, AwsFault::Malformed))?,
            same_material: materials.map(|(before, now)| before == now),
        })
    }
}
