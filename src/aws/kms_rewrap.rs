//! Wrapping a wrapped key anew, inside of KMS.

use aws_sdk_kms::primitives::Blob;

use super::{AwsError, AwsFault, EncryptionContext, Kms};

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
    /// Wraps a key that the KMS key `from` (ARN) wrapped under the context by the KMS key `to` (alias, id or ARN),
    /// under the same context and its newest material.
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
