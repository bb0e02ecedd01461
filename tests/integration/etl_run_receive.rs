//! What a queue may answer, and what a run makes of it: a double stands in for SQS.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pii_vault::aws::{AwsError, AwsFault, Deletion, Message, Queue, ReceiptHandle};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::support::{World, login};

/// The day 2025-12-31.
const SENT: &str = "1767225599999";

/// Answers its n-th poll (from 0) as `poll` says, and keeps what was deleted.
struct Answers<F> {
    poll: F,
    polls: Mutex<usize>,
    deleted: Arc<Mutex<Vec<String>>>,
}

impl<F> Answers<F> {
    fn new(poll: F) -> (Self, Arc<Mutex<Vec<String>>>) {
        let deleted = Arc::default();
        (Self { poll, polls: Mutex::default(), deleted: Arc::clone(&deleted) }, deleted)
    }
}

impl<A, F> Queue for Answers<F>
where
    A: Future<Output = Result<Vec<Message>, AwsError>> + Send,
    F: Fn(usize) -> A + Send + Sync + 'static,
{
    fn visibility_timeout(&self) -> Duration {
        Duration::from_secs(30)
    }

    async fn receive(&self, _: usize, _: Duration) -> Result<Vec<Message>, AwsError> {
        let poll = {
            let mut polls = self.polls.lock().unwrap();
            *polls += 1;
            *polls - 1
        };
        (self.poll)(poll).await
    }

    async fn delete(&self, receipts: Vec<ReceiptHandle>) -> Result<Deletion, AwsError> {
        self.deleted.lock().unwrap().extend(receipts.into_iter().map(|receipt| receipt.0));
        Ok(Deletion::default())
    }

    async fn hide(&self, _: Vec<ReceiptHandle>, _: Duration) -> Result<usize, AwsError> {
        Ok(0)
    }
}

fn message(receipt: &str, sent_timestamp: &str, body: String) -> Message {
    Message {
        id: Uuid::new_v4().to_string(),
        sent_timestamp: sent_timestamp.to_owned(),
        receipt: ReceiptHandle(receipt.to_owned()),
        body: Zeroizing::new(body),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_away_is_waited_out() {
    let world = World::vault().await;
    let (queue, _) = Answers::new(async |poll| match poll {
        0..4 => Err(AwsError::new("sqs:ReceiveMessage", AwsFault::Unavailable)),
        4 => Ok(vec![message("it", SENT, login(1).to_string())]),
        _ => Ok(vec![]),
    });
    let (result, summary) = world.drain_in_process(queue, world.kms().await).await;
    result.unwrap();
    assert_eq!((summary.stored, summary.deleted), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_a_day_stays_in_the_queue() {
    let world = World::vault().await;
    let (queue, deleted) = Answers::new(async |poll| match poll {
        0 => Ok(vec![
            message("first", SENT, login(1).to_string()),
            message("no day", "yesterday", login(2).to_string()),
            message("no day either", "", "{".to_owned()),
            message("last", SENT, login(3).to_string()),
        ]),
        _ => Ok(vec![]),
    });
    let (result, summary) = world.drain_in_process(queue, world.kms().await).await;
    result.unwrap();
    assert_eq!((summary.received, summary.stored, summary.left_in_queue), (4, 2, 2));
    assert!(summary.dead_letters.is_empty());
    let mut deleted = deleted.lock().unwrap().clone();
    deleted.sort();
    assert_eq!(deleted, ["first", "last"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_dead_letters_of_a_batch_are_stored_together_or_not_at_all() {
    let world = World::vault().await;
    world.sql.batch_execute("ALTER TABLE pii_vault.dead_letters ADD CHECK (false)").await.unwrap();
    let (queue, deleted) = Answers::new(async |poll| match poll {
        0 => Ok(vec![message("event", SENT, login(1).to_string()), message("letter", SENT, "{".to_owned())]),
        _ => Ok(vec![]),
    });
    let (result, summary) = world.drain_in_process(queue, world.kms().await).await;
    result.unwrap_err();
    assert_eq!(summary.stored, 0);
    assert_eq!(world.count("pii_vault.login_events").await, 0);
    assert_eq!(deleted.lock().unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_told_to_stop_stops_although_the_queue_has_more() {
    let world = World::vault().await;
    let (queue, deleted) = Answers::new(async |poll| {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok(vec![message("one more", SENT, login(poll).to_string())])
    });
    let stop = CancellationToken::new();
    let run = world.run_in_process(queue, world.kms().await, false, stop.clone());
    let ((result, summary), told) = tokio::join!(run, async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.cancel();
        Instant::now()
    });
    result.unwrap();
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    assert_eq!((summary.received, summary.stored), (summary.deleted, summary.deleted));
    assert_eq!(deleted.lock().unwrap().len() as u64, summary.deleted);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_last_poll_brings_is_stored() {
    let world = World::vault().await;
    let stop = CancellationToken::new();
    let told = stop.clone();
    let (queue, _) = Answers::new(move |poll| {
        let told = told.clone();
        async move {
            if poll == 0 {
                // It arrives just as the run is told to stop: unanswered, it would stay hidden.
                told.cancel();
                tokio::time::sleep(Duration::from_millis(100)).await;
                return Ok(vec![message("last", SENT, login(1).to_string())]);
            }
            std::future::pending().await
        }
    });
    let (result, summary) = world.run_in_process(queue, world.kms().await, false, stop).await;
    result.unwrap();
    assert_eq!((summary.stored, summary.deleted), (1, 1));
}
