//! The queue.

use std::fmt;
use std::time::Duration;

use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, MessageSystemAttributeName};
use zeroize::Zeroizing;

use super::{AwsError, AwsFault};

/// The most messages that one call receives or deletes.
pub const BATCH: usize = 10;

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

/// What deletes one delivery of a message.
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
}

/// AWS SQS.
#[derive(Clone, Debug)]
pub struct Sqs {
    client: aws_sdk_sqs::Client,
    queue_url: String,
    visibility_timeout: Option<Duration>,
}

impl Sqs {
    /// The queue at `queue_url`; what it delivers stays hidden for `visibility_timeout`, or as long as the queue says.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig, queue_url: String, visibility_timeout: Option<Duration>) -> Self {
        Self { client: aws_sdk_sqs::Client::new(config), queue_url, visibility_timeout }
    }
}

impl Queue for Sqs {
    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Message>, AwsError> {
        const CALL: &str = "sqs:ReceiveMessage";
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.queue_url)
            .max_number_of_messages(i32::try_from(max.clamp(1, BATCH)).unwrap_or(1))
            .wait_time_seconds(whole_seconds(wait))
            .set_visibility_timeout(self.visibility_timeout.map(whole_seconds))
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .send()
            .await
            .map_err(AwsError::during(CALL))?;
        answer
            .messages
            .unwrap_or_default()
            .into_iter()
            .map(|message| message_of(message).ok_or(AwsError::new(CALL, AwsFault::Malformed)))
            .collect()
    }

    async fn delete(&self, receipts: Vec<ReceiptHandle>) -> Result<Deletion, AwsError> {
        const CALL: &str = "sqs:DeleteMessageBatch";
        let entries = receipts
            .iter()
            .enumerate()
            .map(|(index, receipt)| {
                DeleteMessageBatchRequestEntry::builder().id(index.to_string()).receipt_handle(&receipt.0).build()
            })
            .collect::<Result<_, _>>()
            .map_err(|_| AwsError::new(CALL, AwsFault::Malformed))?;
        let answer = self
            .client
            .delete_message_batch()
            .queue_url(&self.queue_url)
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(AwsError::during(CALL))?;
        let mut deletion = Deletion::default();
        for entry in answer.failed() {
            let receipt = entry.id().parse::<usize>().ok().and_then(|index| receipts.get(index)).cloned();
            let side = if entry.sender_fault() { &mut deletion.refused } else { &mut deletion.failed };
            side.extend(receipt);
        }
        Ok(deletion)
    }
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

fn message_of(message: aws_sdk_sqs::types::Message) -> Option<Message> {
    let sent_timestamp = message.attributes?.remove(&MessageSystemAttributeName::SentTimestamp)?;
    Some(Message {
        id: message.message_id?,
        sent_timestamp,
        receipt: ReceiptHandle(message.receipt_handle?),
        body: Zeroizing::new(message.body.unwrap_or_default()),
    })
}

fn whole_seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}
