//! Signatures of checkpoints, by a key that never leaves KMS.

use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{MessageType, SigningAlgorithmSpec};

use super::{AwsError, AwsFault, Kms};

/// A signature, with the key that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsSignature {
    /// In DER.
    pub signature: Vec<u8>,
    /// ARN of the KMS key: what stays true when an alias moves.
    pub key: String,
}

/// Signs.
pub trait Signer: Send + Sync + 'static {
    /// ECDSA on P-256 with SHA-256 over a message of 1 to 4096 bytes, by the signing key.
    ///
    /// # Errors
    /// [`AwsError`].
    fn sign(&self, message: &[u8]) -> impl Future<Output = Result<KmsSignature, AwsError>> + Send;
}

impl Signer for Kms {
    /// `Sign`, message type RAW: KMS hashes.
    async fn sign(&self, message: &[u8]) -> Result<KmsSignature, AwsError> {
        const CALL: &str = "kms:Sign";
        let answer = self
            .client
            .sign()
            .key_id(&self.keys.signing)
            .message(Blob::new(message))
            .message_type(MessageType::Raw)
            .signing_algorithm(SigningAlgorithmSpec::EcdsaSha256)
            .send()
            .await
            .map_err(AwsError::during(CALL))?;
        match (answer.signature, answer.key_id) {
            (Some(signature), Some(key)) => Ok(KmsSignature { signature: signature.into_inner(), key }),
            _ => Err(AwsError::new(CALL, AwsFault::Malformed)),
        }
    }
}

impl Kms {
    /// The public half of the signing key: a SubjectPublicKeyInfo in DER. `GetPublicKey`.
    ///
    /// # Errors
    /// [`AwsError`].
    pub async fn public_key(&self) -> Result<Vec<u8>, AwsError> {
        const CALL: &str = "kms:GetPublicKey";
        let asked = self.client.get_public_key().key_id(&self.keys.signing);
        let answer = asked.send().await.map_err(AwsError::during(CALL))?;
        answer.public_key.map(Blob::into_inner).ok_or(AwsError::new(CALL, AwsFault::Malformed))
    }
}
