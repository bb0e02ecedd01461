//! The key wrapper.

use std::collections::HashMap;
use std::time::Duration;

use aws_config::AppName;
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use uuid::Uuid;

use super::{AwsError, AwsFault};
use crate::crypto::SecretKey;
use crate::domain::{KeyId, Purpose, VaultId};

/// The KMS keys: an alias (`alias/pii-vault-data`), id or ARN each.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct KmsKeys {
    /// Wraps data keys.
    pub data: String,
    /// Wraps token keys.
    pub token: String,
    /// Wraps dead-letter keys.
    pub dead_letter: String,
    /// Signs checkpoints.
    pub signing: String,
}

impl KmsKeys {
    /// The key that wraps keys of `purpose`.
    #[must_use]
    pub fn wrapping(&self, purpose: Purpose) -> &str {
        match purpose {
            Purpose::Data => &self.data,
            Purpose::Token => &self.token,
            Purpose::DeadLetter => &self.dead_letter,
        }
    }
}

/// KMS's additional authenticated data: a wrapped key unwraps under the very same context only. It shows in
/// CloudTrail and holds no personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncryptionContext {
    /// The vault.
    pub vault: VaultId,
    /// What the wrapped key is for.
    pub purpose: Purpose,
    /// The wrapped key.
    pub key: KeyId,
}

impl EncryptionContext {
    pub(super) fn pairs(&self) -> HashMap<String, String> {
        [
            ("app", "pii-vault".to_owned()),
            ("vault", self.vault.to_string()),
            ("purpose", self.purpose.name().to_owned()),
            ("key-id", self.key.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

/// A fresh key with its wrapped form.
#[derive(Debug)]
pub struct GeneratedKey {
    /// The key.
    pub plaintext: SecretKey,
    /// The KMS ciphertext blob.
    pub wrapped: Vec<u8>,
    /// ARN of the KMS key that wrapped it: what stays true when an alias moves.
    pub kms_key: String,
}

/// Wraps and unwraps keys.
pub trait KeyWrapper: Send + Sync + 'static {
    /// Makes a fresh 256-bit key, wrapped by the KMS key of the context's purpose.
    ///
    /// # Errors
    /// [`AwsError`].
    fn generate(&self, context: EncryptionContext) -> impl Future<Output = Result<GeneratedKey, AwsError>> + Send;

    /// Unwraps a key that the KMS key `kms_key` wrapped under the same context.
    ///
    /// # Errors
    /// [`AwsError`].
    fn unwrap(
        &self,
        kms_key: &str,
        wrapped: &[u8],
        context: EncryptionContext,
    ) -> impl Future<Output = Result<SecretKey, AwsError>> + Send;
}

/// AWS KMS.
#[derive(Clone, Debug)]
pub struct Kms {
    pub(super) client: aws_sdk_kms::Client,
    pub(super) keys: KmsKeys,
}

impl Kms {
    /// KMS with the vault's keys.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig, keys: KmsKeys) -> Self {
        Self::of(aws_sdk_kms::config::Builder::from(config), keys)
    }

    /// KMS for one receipt of the audit log, under whose name its calls stand in CloudTrail: the app name, a part of
    /// the user agent, is `pv-receipt-` and the receipt. It is for unwrapping: a wrapped key names its KMS key.
    #[must_use]
    pub fn for_receipt(config: &aws_config::SdkConfig, receipt: Uuid) -> Self {
        Self::under_name(config, format!("pv-receipt-{receipt}"), KmsKeys::default())
    }

    /// KMS for one rotation of the audit log, likewise under its name: `pv-job-` and the rotation.
    #[must_use]
    pub fn for_job(config: &aws_config::SdkConfig, job: Uuid, keys: KmsKeys) -> Self {
        Self::under_name(config, format!("pv-job-{job}"), keys)
    }

    fn under_name(config: &aws_config::SdkConfig, name: String, keys: KmsKeys) -> Self {
        let mut config = aws_sdk_kms::config::Builder::from(config);
        config.set_app_name(AppName::new(name).ok());
        Self::of(config, keys)
    }

    fn of(config: aws_sdk_kms::config::Builder, keys: KmsKeys) -> Self {
        // A call that hangs must not outlast anybody's patience: KMS answers within milliseconds.
        let timeouts = TimeoutConfig::builder().operation_timeout(Duration::from_secs(10)).build();
        Self { client: aws_sdk_kms::Client::from_conf(config.timeout_config(timeouts).build()), keys }
    }
}

impl KeyWrapper for Kms {
    /// `GenerateDataKey`, AES_256.
    async fn generate(&self, context: EncryptionContext) -> Result<GeneratedKey, AwsError> {
        const CALL: &str = "kms:GenerateDataKey";
        let answer = self
            .client
            .generate_data_key()
            .key_id(self.keys.wrapping(context.purpose))
            .key_spec(DataKeySpec::Aes256)
            .set_encryption_context(Some(context.pairs()))
            .send()
            .await
            .map_err(AwsError::during(CALL))?;
        Ok(GeneratedKey {
            plaintext: secret(answer.plaintext, CALL)?,
            wrapped: answer.ciphertext_blob.map(Blob::into_inner).ok_or(AwsError::new(CALL, AwsFault::Malformed))?,
            kms_key: answer.key_id.ok_or(AwsError::new(CALL, AwsFault::Malformed))?,
        })
    }

    /// `Decrypt`, with the KMS key named: KMS then refuses a blob that another key wrapped.
    async fn unwrap(&self, kms_key: &str, wrapped: &[u8], context: EncryptionContext) -> Result<SecretKey, AwsError> {
        const CALL: &str = "kms:Decrypt";
        let answer = self
            .client
            .decrypt()
            .key_id(kms_key)
            .ciphertext_blob(Blob::new(wrapped))
            .set_encryption_context(Some(context.pairs()))
            .send()
            .await
            .map_err(AwsError::during(CALL))?;
        secret(answer.plaintext, CALL)
    }
}

fn secret(plaintext: Option<Blob>, call: &'static str) -> Result<SecretKey, AwsError> {
    plaintext
        .and_then(|blob| SecretKey::from_unwrapped(blob.into_inner()).ok())
        .ok_or(AwsError::new(call, AwsFault::Malformed))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// The pairs that `keys/FORMAT.md` names: a wrapped key unwraps under these alone, for as long as it exists.
    #[test]
    fn contexts_are_those_of_the_format() {
        let file: Value = serde_json::from_str(include_str!("../../keys/vectors.json")).unwrap();
        let vectors = file["encryption_contexts"].as_array().unwrap();
        let mut seen = Vec::new();
        for vector in vectors {
            let id = |name: &str| vector[name].as_str().unwrap().parse().unwrap();
            let purpose = Purpose::ALL.into_iter().find(|purpose| vector["purpose"] == purpose.name()).unwrap();
            let context = EncryptionContext { vault: VaultId(id("vault_id")), purpose, key: KeyId(id("key_id")) };
            assert_eq!(serde_json::to_value(context.pairs()).unwrap(), vector["context"]);
            seen.push(purpose);
        }
        assert_eq!(seen, Purpose::ALL);
    }
}
