//! What a queue is: the seam, and what goes over it.

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use super::AwsError;

/// The most messages that one call receives, deletes or hides.
pub const BATCH: usize = 10;

/// The largest body that SQS takes, in bytes.
pub const LARGEST_BODY: usize = 1 << 20;

/// A message as it was received.
pub struct Message {
    /// SQS's id of it, the same at each delivery.
    pub id: String,
    /// `SentTimestamp`: milliseconds since the Unix epoch, the same at each delivery.
    pub sent_timestamp: String,
    /// What deletes this delivery of it.
    pub receipt: ReceiptHandle,
    /// What it says. Wiped on drop.
    pub body: Zeroizing<String>,
}

/// What deletes or hides one delivery of a message.
#[derive(Clone, PartialEq, Eq)]
pub struct ReceiptHandle(pub String);

/// What became of a batch of deletions.
#[derive(Debug, Default)]
pub struct Deletion {
    /// Entries that may be tried again.
    pub failed: Vec<ReceiptHandle>,
    /// Entries that never will be deleted by this handle.
    pub refused: Vec<ReceiptHandle>,
}

/// A queue that delivers at least once.
pub trait Queue: Send + Sync + 'static {
    /// How long what is received stays hidden, unless [`Queue::hide`] says otherwise.
    fn visibility_timeout(&self) -> Duration;

    /// Receives up to `max` messages (1 to 10), waiting up to `wait` (20 s at most) for the first.
    ///
    /// # Errors
    /// [`AwsError`].
    fn receive(&self, max: usize, wait: Duration) -> impl Future<Output = Result<Vec<Message>, AwsError>> + Send;

    /// Deletes up to ten messages.
    ///
    /// # Errors
    /// [`AwsError`] where the call as a whole failed; single entries fail in [`Deletion`].
    fn delete(&self, receipts: Vec<ReceiptHandle>) -> impl Future<Output = Result<Deletion, AwsError>> + Send;

    /// Hides up to ten messages for `timeout` from now (whole seconds, 12 h at most); for none, they come again at
    /// once. Returns how many entries were not changed: they are deleted, or delivered again.
    ///
    /// # Errors
    /// [`AwsError`] where the call as a whole failed.
    fn hide(
        &self,
        receipts: Vec<ReceiptHandle>,
        timeout: Duration,
    ) -> impl Future<Output = Result<usize, AwsError>> + Send;
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Redacted: whoever holds it can delete the message.
impl fmt::Debug for ReceiptHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReceiptHandle([redacted])")
    }
}
