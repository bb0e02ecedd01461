//! What is in flight stays hidden; what is given up comes again at once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pii_vault::aws::{AwsError, Deletion, Message, Queue, ReceiptHandle, Sqs};

use crate::support::{World, assert_adds_up};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_for_long_is_not_delivered_again() {
    let world = World::vault().await;
    world.send_logins(35).await;
    world.sql.batch_execute("BEGIN; LOCK TABLE pii_vault.login_events IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let run = world.start_drain(&["--visibility-timeout", "2s", "--wait", "20s"]);
    for _ in 0..16 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(
            world.queue_depth().await.0 * world.queue_depth().await.1,
            0,
            "all are hidden, or none was received"
        );
    }
    assert_eq!(world.queue_depth().await, (0, 35));
    world.sql.batch_execute("ROLLBACK").await.unwrap();
    let summary = run.finish().done().json();
    assert_eq!((summary["received"].as_u64(), summary["deleted"].as_u64()), (Some(35), Some(35)), "{summary}");
    assert_eq!((summary["stored"].as_u64(), summary["undeleted"].as_u64()), (Some(35), Some(0)), "{summary}");
}

/// The real queue, which delivers what it delivers first once more at once.
struct DeliversTwice {
    queue: Sqs,
    handles: Arc<Mutex<Vec<ReceiptHandle>>>,
    deleted_by: Arc<Mutex<Vec<ReceiptHandle>>>,
}

impl Queue for DeliversTwice {
    fn visibility_timeout(&self) -> Duration {
        self.queue.visibility_timeout()
    }

    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Message>, AwsError> {
        let messages = self.queue.receive(max, wait).await?;
        let is_first = {
            let mut handles = self.handles.lock().unwrap();
            handles.extend(messages.iter().map(|message| message.receipt.clone()));
            handles.len() == 1
        };
        if is_first {
            self.queue.hide(vec![messages[0].receipt.clone()], Duration::ZERO).await?;
        }
        Ok(messages)
    }

    async fn delete(&self, receipts: Vec<ReceiptHandle>) -> Result<Deletion, AwsError> {
        self.deleted_by.lock().unwrap().extend(receipts.clone());
        self.queue.delete(receipts).await
    }

    async fn hide(&self, receipts: Vec<ReceiptHandle>, timeout: Duration) -> Result<usize, AwsError> {
        self.queue.hide(receipts, timeout).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_handle_deletes() {
    let world = World::vault().await;
    world.send_logins(1).await;
    let queue = DeliversTwice {
        queue: world.sqs_hiding_for(Duration::from_secs(30)).await,
        handles: Arc::default(),
        deleted_by: Arc::default(),
    };
    let (handles, deleted_by) = (queue.handles.clone(), queue.deleted_by.clone());
    // Both copies are in flight before either is stored.
    world.sql.batch_execute("BEGIN; LOCK TABLE pii_vault.login_events IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let unlock = async {
        while handles.lock().unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        world.sql.batch_execute("ROLLBACK").await.unwrap();
    };
    let ((result, summary), ()) = tokio::join!(world.drain_in_process(queue, world.kms().await), unlock);
    result.unwrap();
    assert_eq!((summary.received, summary.stored, summary.already_stored), (2, 1, 1));
    let handles = handles.lock().unwrap().clone();
    assert_ne!(handles[0], handles[1]);
    assert!(deleted_by.lock().unwrap().iter().all(|handle| *handle == handles[1]));
    assert_eq!((world.queue_depth().await, summary.undeleted), ((0, 0), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_comes_again_at_once() {
    let world = World::vault().await;
    // The first data key is out of use as soon as it is stored.
    world
        .sql
        .batch_execute(
            "CREATE FUNCTION pii_vault.spoil() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN \
             IF NOT EXISTS (SELECT FROM pii_vault.data_keys) THEN NEW.state := 'decrypt-only'; END IF; \
             RETURN NEW; END$$; \
             ALTER FUNCTION pii_vault.spoil SECURITY DEFINER; \
             CREATE TRIGGER spoil BEFORE INSERT ON pii_vault.data_keys FOR EACH ROW EXECUTE FUNCTION pii_vault.spoil()",
        )
        .await
        .unwrap();
    world.send_logins(20).await;
    let started = std::time::Instant::now();
    let summary = world.drain(&["--visibility-timeout", "120s", "--wait", "5s", "--receivers", "1"]);
    assert_adds_up(&summary);
    assert_eq!(summary["stored"], 20, "{summary}");
    assert!(summary["left_in_queue"].as_u64().unwrap() > 0, "{summary}");
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_lose_messages_are_warned_of() {
    let world = World::vault().await;
    let settings = Sqs::settings(&world.sqs_config().await, &world.queue_url).await.unwrap();
    assert_eq!(settings.visibility_timeout, Some(Duration::from_secs(30)));
    assert_eq!(settings.retention, Some(Duration::from_secs(345_600)));
    assert_eq!(settings.max_receive_count, None);

    let warned = world.start_drain(&["--visibility-timeout", "5s"]).finish().done().stderr;
    for word in ["hidden for only 5 s", "no dead-letter queue"] {
        assert!(warned.contains(word), "{warned}");
    }
    world.set_redrive_policy(10).await;
    let settings = Sqs::settings(&world.sqs_config().await, &world.queue_url).await.unwrap();
    assert_eq!(settings.max_receive_count, Some(10));
    let quiet = world.start_drain(&[]).finish().done().stderr;
    assert!(!quiet.contains("WARN"), "{quiet}");
}
