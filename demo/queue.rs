//! The queue, and the producer who fills it.

use anyhow::{Context, Result, ensure};
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};
use aws_sdk_sqs::{Client, Config};

use crate::cast::{Cast, REGION};

/// The AWS identity of the producer.
pub(crate) const PRODUCER: &str = "producer";

/// The most messages that one call may send.
pub(crate) const BATCH: usize = 10;

pub(crate) struct Queue {
    client: Client,
    url: String,
}

impl Queue {
    pub(crate) async fn create(cast: &Cast, name: &str) -> Result<Self> {
        // Built by hand: the environment's own profile, region and endpoints have no part in this.
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .region(Region::new(REGION))
            .endpoint_url(&cast.sqs)
            .credentials_provider(Credentials::new(PRODUCER, "any-will-do", None, None, "demo"))
            .build();
        let client = Client::from_conf(config);
        let answer = client.create_queue().queue_name(name).send().await.context("sqs:CreateQueue")?;
        Ok(Self { client, url: answer.queue_url.context("sqs:CreateQueue names no queue")? })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Sends messages, ten a call.
    pub(crate) async fn send(&self, messages: &[&str]) -> Result<()> {
        for batch in messages.chunks(BATCH) {
            let entries = batch
                .iter()
                .enumerate()
                .map(|(index, body)| {
                    SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(*body).build()
                })
                .collect::<Result<Vec<_>, _>>()?;
            let answer = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries)).send().await;
            let failed = answer.context("sqs:SendMessageBatch")?.failed.len();
            ensure!(failed == 0, "the queue did not take {failed} of {} messages", batch.len());
        }
        Ok(())
    }

    /// How many messages it holds: waiting, in somebody's hands, or delayed.
    pub(crate) async fn depth(&self) -> Result<usize> {
        const COUNTS: [QueueAttributeName; 3] = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let call = self.client.get_queue_attributes().queue_url(&self.url).set_attribute_names(Some(COUNTS.to_vec()));
        let attributes = call.send().await.context("sqs:GetQueueAttributes")?.attributes.unwrap_or_default();
        let count =
            |name| Ok(attributes.get(name).with_context(|| format!("the queue has no {name:?}"))?.parse::<usize>()?);
        COUNTS.iter().map(count).sum()
    }
}
