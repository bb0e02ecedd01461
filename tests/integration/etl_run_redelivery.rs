//! At least once becomes exactly once: deletions that fail, messages that come again or to several at once.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pii_vault::aws::{AwsError, AwsFault, Deletion, Message, Queue, ReceiptHandle, Sqs};
use zeroize::Zeroizing;

use crate::support::{World, login};

/// The real queue, whose deletions `fail` decides on.
struct FailingDeletes<F> {
    queue: Sqs,
    fail: F,
    calls: Arc<Mutex<Vec<Vec<ReceiptHandle>>>>,
}

impl<F: Fn(usize, &[ReceiptHandle]) -> Option<Result<Deletion, AwsError>> + Send + Sync + 'static> Queue
    for FailingDeletes<F>
{
    fn visibility_timeout(&self) -> Duration {
        self.queue.visibility_timeout()
    }

    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Message>, AwsError> {
        self.queue.receive(max, wait).await
    }

    async fn delete(&self, receipts: Vec<ReceiptHandle>) -> Result<Deletion, AwsError> {
        let call = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(receipts.clone());
            calls.len()
        };
        match (self.fail)(call, &receipts) {
            Some(result) => result,
            None => self.queue.delete(receipts).await,
        }
    }

    async fn hide(&self, receipts: Vec<ReceiptHandle>, timeout: Duration) -> Result<usize, AwsError> {
        self.queue.hide(receipts, timeout).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_fail_to_be_deleted_are_tried_again_alone() {
    let world = World::vault().await;
    world.send_logins(5).await;
    let calls = Arc::default();
    let queue = FailingDeletes {
        queue: world.sqs().await,
        fail: |call, receipts: &[ReceiptHandle]| {
            (call == 1).then(|| Ok(Deletion { failed: vec![receipts[2].clone()], refused: vec![] }))
        },
        calls: Arc::clone(&calls),
    };
    let (result, summary) = world.drain_in_process(queue, world.kms().await).await;
    result.unwrap();
    let calls: Vec<Vec<ReceiptHandle>> = calls.lock().unwrap().clone();
    assert_eq!((calls.len(), calls[1].as_slice()), (2, &calls[0][2..3]));
    assert_eq!((summary.stored, summary.deleted, summary.undeleted), (5, 5, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_for_now_is_made_again() {
    let world = World::vault().await;
    world.send_logins(5).await;
    let queue = FailingDeletes {
        queue: world.sqs().await,
        fail: |call, _: &[ReceiptHandle]| {
            (call <= 2).then(|| Err(AwsError::new("sqs:DeleteMessageBatch", AwsFault::Unavailable)))
        },
        calls: Arc::default(),
    };
    let (result, summary) = world.drain_in_process(queue, world.kms().await).await;
    result.unwrap();
    assert_eq!((summary.stored, summary.deleted, summary.undeleted), (5, 5, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redelivery_adds_nothing() {
    let world = World::vault().await;
    world.send_logins(40).await;
    world.send(["{"; 3]).await;
    // Committed, and then the process is cut off from the queue.
    let queue = FailingDeletes {
        queue: world.sqs_hiding_for(Duration::from_secs(2)).await,
        fail: |_, receipts: &[ReceiptHandle]| Some(Ok(Deletion { failed: vec![], refused: receipts.to_vec() })),
        calls: Arc::default(),
    };
    let (result, summary) = world.drain_in_process(queue, world.kms().await).await;
    result.unwrap();
    assert_eq!((summary.stored, summary.undeleted), (40, 43));
    let before = world.opened_events().await.into_keys().collect::<BTreeSet<_>>();

    tokio::time::sleep(Duration::from_secs(2)).await;
    let second = world.drain(&["--wait", "2s"]);
    assert_eq!((second["stored"].as_u64(), second["already_stored"].as_u64()), (Some(0), Some(40)));
    assert_eq!(second["deleted"], 43);
    assert_eq!(world.opened_events().await.into_keys().collect::<BTreeSet<_>>(), before);
    assert_eq!(world.opened_dead_letters().await.len(), 3);
    assert_eq!(world.queue_depth().await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_refuses_deletions_ends_the_run_with_everything_stored() {
    let world = World::vault().await;
    world.send_logins(10).await;
    let queue = FailingDeletes {
        queue: world.sqs().await,
        fail: |_, _: &[ReceiptHandle]| Some(Err(AwsError::new("sqs:DeleteMessageBatch", AwsFault::Refused))),
        calls: Arc::default(),
    };
    let (result, summary) = world.drain_in_process(queue, world.kms().await).await;
    assert!(result.unwrap_err().to_string().starts_with("sqs:DeleteMessageBatch: AWS refused"));
    assert_eq!((summary.stored, summary.deleted), (10, 0));
}

/// Delivers the same messages to several consumers at once, to each in an order of its own.
struct SameForAll {
    messages: Mutex<Vec<(String, String)>>,
    sent_timestamp: String,
}

impl Queue for SameForAll {
    fn visibility_timeout(&self) -> Duration {
        Duration::from_secs(30)
    }

    async fn receive(&self, max: usize, _: Duration) -> Result<Vec<Message>, AwsError> {
        let mut messages = self.messages.lock().unwrap();
        let count = messages.len().min(max);
        Ok(messages
            .drain(..count)
            .map(|(id, body)| Message {
                receipt: ReceiptHandle(id.clone()),
                id,
                sent_timestamp: self.sent_timestamp.clone(),
                body: Zeroizing::new(body),
            })
            .collect())
    }

    async fn delete(&self, _: Vec<ReceiptHandle>) -> Result<Deletion, AwsError> {
        Ok(Deletion::default())
    }

    async fn hide(&self, _: Vec<ReceiptHandle>, _: Duration) -> Result<usize, AwsError> {
        Ok(0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_with_the_same_messages_neither_deadlock_nor_double() {
    let world = World::vault().await;
    let messages: Vec<_> =
        (0..400).map(|number| (uuid::Uuid::new_v4().to_string(), login(number).to_string())).collect();
    let consumers = (0..4).map(|consumer| {
        let mut messages = messages.clone();
        match consumer {
            0 => {}
            1 => messages.reverse(),
            other => messages.rotate_left(other * 97),
        }
        SameForAll { messages: Mutex::new(messages), sent_timestamp: "1767225599999".to_owned() }
    });
    let kms = world.kms().await;
    let runs = consumers.map(|queue| world.drain_in_process(queue, kms.clone()));
    let ended = futures_util::future::join_all(runs).await;
    let stored: u64 = ended.iter().map(|(_, summary)| summary.stored).sum();
    let already: u64 = ended.iter().map(|(_, summary)| summary.already_stored).sum();
    assert!(ended.iter().all(|(result, _)| result.is_ok()), "{ended:?}");
    assert_eq!((stored, already), (400, 1_200));
    assert_eq!(world.count("pii_vault.login_events_2025_12").await, 400);
    // A deadlock would have been waited out: it shows in the statistics alone, which a backend sends as it ends.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(world.count("pg_stat_database WHERE datname = current_database() AND deadlocks > 0").await, 0);
}
