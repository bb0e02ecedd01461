//! The queue, as its producer and its administrator have it.

use aws_sdk_sqs::types::QueueAttributeName;
use uuid::Uuid;

use super::World;

impl World {
    /// Sends bodies and returns their message ids, in order.
    pub(crate) async fn send<S: Into<String>>(&self, bodies: impl IntoIterator<Item = S>) -> Vec<Uuid> {
        let bodies: Vec<String> = bodies.into_iter().map(Into::into).collect();
        let mut ids = Vec::new();
        for ten in bodies.chunks(10) {
            let entries = ten.iter().enumerate().map(|(index, body)| {
                aws_sdk_sqs::types::SendMessageBatchRequestEntry::builder()
                    .id(index.to_string())
                    .message_body(body)
                    .build()
                    .expect("an entry")
            });
            let answer = self
                .sqs
                .send_message_batch()
                .queue_url(&self.queue_url)
                .set_entries(Some(entries.collect()))
                .send()
                .await
                .expect("sent");
            let mut sent = answer.successful;
            sent.sort_by_key(|entry| entry.id.parse::<usize>().expect("our index"));
            ids.extend(sent.iter().map(|entry| entry.message_id.parse::<Uuid>().expect("a UUID")));
        }
        assert_eq!(ids.len(), bodies.len(), "every message was taken");
        ids
    }

    /// Messages that are visible and messages that are hidden.
    pub(crate) async fn queue_depth(&self) -> (u64, u64) {
        let answer = self
            .sqs
            .get_queue_attributes()
            .queue_url(&self.queue_url)
            .attribute_names(QueueAttributeName::All)
            .send()
            .await
            .expect("attributes");
        let attributes = answer.attributes.expect("attributes");
        let number = |name| attributes[&name].parse().expect("a number");
        (
            number(QueueAttributeName::ApproximateNumberOfMessages),
            number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
        )
    }

    pub(crate) async fn set_redrive_policy(&self, max_receive_count: u32) {
        let dead_letters =
            self.sqs.create_queue().queue_name(format!("dead-{}", self.id)).send().await.expect("a queue");
        let answer = self
            .sqs
            .get_queue_attributes()
            .queue_url(dead_letters.queue_url.expect("its URL"))
            .attribute_names(QueueAttributeName::QueueArn)
            .send()
            .await
            .expect("attributes");
        let arn = &answer.attributes.expect("attributes")[&QueueAttributeName::QueueArn];
        let policy = serde_json::json!({"deadLetterTargetArn": arn, "maxReceiveCount": max_receive_count});
        self.sqs
            .set_queue_attributes()
            .queue_url(&self.queue_url)
            .attributes(QueueAttributeName::RedrivePolicy, policy.to_string())
            .send()
            .await
            .expect("set");
    }
}
