//! AWS: the queue, the key wrapper and signer, a folder of S3, and logins for a database in AWS.
//!
//! Guaranteed: a failed call becomes an [`AwsError`] with AWS's code and, for a refusal, its sentence, which names
//! principals, actions and keys, never what a message or key held.
//! Not guaranteed: that the SDK wipes its own buffers, through which bodies and unwrapped keys pass.
//!
//! The traits are the one seam of the project: faults that no endpoint produces are injected there.

pub mod client;
mod error;
pub mod kms;
pub mod kms_keys;
pub mod kms_rewrap;
pub mod kms_signing;
pub mod queue;
mod queue_settings;
pub mod rds_token;
pub mod s3;
pub mod secrets;
mod sqs;

pub use error::{AwsError, AwsFault};
pub use kms::{EncryptionContext, GeneratedKey, KeyWrapper, Kms, KmsKeys};
pub use kms_rewrap::{KeyRewrapper, Rewrapped};
pub use kms_signing::{KmsSignature, Signer};
pub use queue::{Deletion, Message, Queue, ReceiptHandle};
pub use queue_settings::{QueueFinding, QueueSettings};
pub use s3::S3Folder;
pub use sqs::Sqs;
