use std::time::Duration;

use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, MessageSystemAttributeName,
    QueueAttributeName,
};
use zeroize::Zeroizing;

use super::queue::{BATCH, Deletion, Message, Queue, ReceiptHandle};
use super::{AwsError, AwsFault, QueueSettings};

/// AWS SQS.
#[derive(Clone, Debug)]
pub struct Sqs {
    client: aws_sdk_sqs::Client,
    queue_url: String,
    visibility_timeout: Duration,
}

impl Sqs {
    /// The queue at `queue_url`; what it delivers stays hidden for `visibility_timeout` (whole seconds, 1 s to 12 h).
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig, queue_url: String, visibility_timeout: Duration) -> Self {
        Self { client: aws_sdk_sqs::Client::new(config), queue_url, visibility_timeout }
    }

    /// What is set on the queue. Takes `sqs:GetQueueAttributes`.
    ///
    /// # Errors
    /// [`AwsError`].
    pub async fn settings(config: &aws_config::SdkConfig, queue_url: &str) -> Result<QueueSettings, AwsError> {
        let answer = aws_sdk_sqs::Client::new(config)
            .get_queue_attributes()
            .queue_url(queue_url)
            .attribute_names(QueueAttributeName::All)
            .send()
            .await
            .map_err(AwsError::during("sqs:GetQueueAttributes"))?;
        let attributes = answer.attributes.unwrap_or_default();
        Ok(QueueSettings::read(|name| attributes.get(&QueueAttributeName::from(name)).map(String::as_str)))
    }
}

impl Queue for Sqs {
    fn visibility_timeout(&self) -> Duration {
        self.visibility_timeout
    }

    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Message>, AwsError> {
        const CALL: &str = "sqs:ReceiveMessage";
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.queue_url)
            .max_number_of_messages(i32::try_from(max.clamp(1, BATCH)).unwrap_or(1))
            .wait_time_seconds(whole_seconds(wait))
            .visibility_timeout(whole_seconds(self.visibility_timeout))
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

    async fn hide(&self, receipts: Vec<ReceiptHandle>, timeout: Duration) -> Result<usize, AwsError> {
        const CALL: &str = "sqs:ChangeMessageVisibilityBatch";
        let entries = receipts
            .iter()
            .enumerate()
            .map(|(index, receipt)| {
                ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(index.to_string())
                    .receipt_handle(&receipt.0)
                    .visibility_timeout(whole_seconds(timeout))
                    .build()
            })
            .collect::<Result<_, _>>()
            .map_err(|_| AwsError::new(CALL, AwsFault::Malformed))?;
        let answer = self
            .client
            .change_message_visibility_batch()
            .queue_url(&self.queue_url)
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(AwsError::during(CALL))?;
        Ok(answer.failed().len())
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
