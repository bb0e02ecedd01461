//! The KMS keys themselves: what `init` looks for, and makes if it is told to.

use aws_sdk_kms::types::{KeySpec, KeyState, KeyUsageType};

use super::{AwsError, AwsFault, Kms, KmsKeys};

/// One of the vault's KMS keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsKey {
    /// The setting that names it.
    pub variable: &'static str,
    /// Its alias, id or ARN.
    pub name: String,
    /// What it is for, as KMS shows it.
    pub description: &'static str,
    signs: bool,
}

/// What KMS says of a key.
#[derive(Debug)]
pub struct Description {
    /// KMS's word for its state: `Enabled`, `Disabled`, `PendingDeletion`, …
    pub state: String,
    /// Whether it is in use.
    pub enabled: bool,
    /// Whether its usage and spec are those of its task.
    pub fits: bool,
    /// Whether KMS renews it by itself. `None`: not said, or not for this kind of key.
    pub rotates: Option<bool>,
}

impl KmsKeys {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> [KmsKey; 4] {
        let key =
            |variable, name: &str, description, signs| KmsKey { variable, name: name.to_owned(), description, signs };
        [
            key("PII_VAULT_DATA_KMS_KEY", &self.data, "pii-vault: wraps data keys", false),
            key("PII_VAULT_TOKEN_KMS_KEY", &self.token, "pii-vault: wraps token keys", false),
            key("PII_VAULT_DEAD_LETTER_KMS_KEY", &self.dead_letter, "pii-vault: wraps dead-letter keys", false),
            key("PII_VAULT_SIGNING_KMS_KEY", &self.signing, "pii-vault: signs checkpoints", true),
        ]
    }
}

impl KmsKey {
    /// The commands that make it, for a person to type. `None` where it is not named by an alias: an id or ARN is
    /// KMS's to give.
    #[must_use]
    pub fn commands(&self) -> Option<String> {
        let alias = self.name.starts_with("alias/").then_some(&self.name)?;
        let spec = if self.signs { "--key-usage SIGN_VERIFY --key-spec ECC_NIST_P256 " } else { "" };
        Some(format!(
            "aws kms create-alias --alias-name {alias} --target-key-id \\\n  \"$(aws kms create-key {spec}\
             --description '{}' --query KeyMetadata.KeyId --output text)\"",
            self.description
        ))
    }
}

impl KmsKey {
    fn usage(&self) -> KeyUsageType {
        if self.signs { KeyUsageType::SignVerify } else { KeyUsageType::EncryptDecrypt }
    }

    fn spec(&self) -> KeySpec {
        if self.signs { KeySpec::EccNistP256 } else { KeySpec::SymmetricDefault }
    }
}

impl Kms {
    /// Whether the key exists.
    ///
    /// # Errors
    /// [`AwsError`], also for an identity that may not ask (`kms:DescribeKey`).
    pub async fn exists(&self, key: &KmsKey) -> Result<bool, AwsError> {
        match self.client.describe_key().key_id(&key.name).send().await.map_err(AwsError::during("kms:DescribeKey")) {
            Ok(_) => Ok(true),
            Err(error) if error.fault() == AwsFault::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What KMS says of the key; `kms:GetKeyRotationStatus` is asked as well, and may be refused.
    ///
    /// # Errors
    /// [`AwsError`], also for an identity that may not ask (`kms:DescribeKey`).
    pub async fn describe(&self, key: &KmsKey) -> Result<Description, AwsError> {
        const CALL: &str = "kms:DescribeKey";
        let answer = self.client.describe_key().key_id(&key.name).send().await.map_err(AwsError::during(CALL))?;
        let metadata = answer.key_metadata.ok_or(AwsError::new(CALL, AwsFault::Malformed))?;
        let rotates = match key.signs {
            true => None,
            // By its id: an alias is not taken here.
            false => self.client.get_key_rotation_status().key_id(&metadata.key_id).send().await.ok(),
        };
        Ok(Description {
            state: metadata.key_state.as_ref().map_or("unknown", KeyState::as_str).to_owned(),
            enabled: metadata.enabled,
            fits: (metadata.key_usage.as_ref(), metadata.key_spec.as_ref()) == (Some(&key.usage()), Some(&key.spec())),
            rotates: rotates.map(|status| status.key_rotation_enabled),
        })
    }

    /// Makes the key and gives it its alias. Where another process is faster with the alias, ours is scheduled for
    /// deletion again.
    ///
    /// # Errors
    /// [`AwsError`].
    pub async fn create(&self, key: &KmsKey) -> Result<(), AwsError> {
        const CALL: &str = "kms:CreateKey";
        let answer = self
            .client
            .create_key()
            .description(key.description)
            .key_usage(key.usage())
            .key_spec(key.spec())
            .send()
            .await
            .map_err(AwsError::during(CALL))?;
        let id = answer.key_metadata.map(|metadata| metadata.key_id).ok_or(AwsError::new(CALL, AwsFault::Malformed))?;
        let aliased = self
            .client
            .create_alias()
            .alias_name(&key.name)
            .target_key_id(&id)
            .send()
            .await
            .map_err(AwsError::during("kms:CreateAlias"));
        match aliased {
            Err(error) if error.code() == Some("AlreadyExistsException") => {
                self.client
                    .schedule_key_deletion()
                    .key_id(id)
                    .pending_window_in_days(7)
                    .send()
                    .await
                    .map_err(AwsError::during("kms:ScheduleKeyDeletion"))?;
                Ok(())
            }
            other => other.map(drop),
        }
    }
}
