//! Faults: servers that go away, keys that change, deletions that fail. Where no endpoint gives the fault, a double
//! around the real thing injects it.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pii_vault::aws::{
    AwsError, AwsFault, Deletion, EncryptionContext, GeneratedKey, KeyWrapper, Kms, Message, Queue, ReceiptHandle, Sqs,
};
use pii_vault::crypto::{Commitment, SecretKey};
use pii_vault::db::{Role, Server};
use pii_vault::domain::{KeyId, Purpose};
use pii_vault::etl::{self, Counters, EtlError, Options, Summary};
use pii_vault::keyring::KeyLimits;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::support::{Who, World, login};

/// Drains in this process, so that doubles can stand at the AWS edge.
async fn drain(world: &World, queue: impl Queue, wrapper: impl KeyWrapper) -> (Result<(), EtlError>, Summary) {
    let server = Server::parse(&world.database_url(Who::Ingest).into()).unwrap();
    let pool = server.pool(Role::Ingest, 4).await.unwrap();
    let options = Options {
        receivers: NonZeroUsize::new(2).unwrap(),
        writers: NonZeroUsize::new(2).unwrap(),
        batch_size: NonZeroUsize::new(50).unwrap(),
        linger: Duration::from_millis(20),
        wait: Duration::from_secs(1),
        drain: true,
        max_messages: None,
        patience: Duration::from_secs(20),
        key_limits: KeyLimits::new(Duration::from_secs(3600), 1 << 24).unwrap(),
    };
    let counters = Arc::new(Counters::default());
    let result = etl::run(queue, wrapper, pool, options, counters.clone(), CancellationToken::new()).await;
    (result, counters.summary())
}

async fn sqs(world: &World) -> Sqs {
    Sqs::new(&world.sqs_config().await, world.queue_url.clone(), None)
}

async fn send_logins(world: &World, count: usize) {
    world.send((0..count).map(|number| login(number).to_string())).await;
}

/// The real queue, whose deletions `fail` decides on.
struct FailingDeletes<F> {
    queue: Sqs,
    fail: F,
    calls: Arc<Mutex<Vec<Vec<ReceiptHandle>>>>,
}

impl<F: Fn(usize, &[ReceiptHandle]) -> Option<Result<Deletion, AwsError>> + Send + Sync + 'static> Queue
    for FailingDeletes<F>
{
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
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_fail_to_be_deleted_are_tried_again_alone() {
    let world = World::vault().await;
    send_logins(&world, 5).await;
    let calls = Arc::default();
    let queue = FailingDeletes {
        queue: sqs(&world).await,
        fail: |call, receipts: &[ReceiptHandle]| {
            (call == 1).then(|| Ok(Deletion { failed: vec![receipts[2].clone()], refused: vec![] }))
        },
        calls: Arc::clone(&calls),
    };
    let (result, summary) = drain(&world, queue, world.kms().await).await;
    result.unwrap();
    let calls: Vec<Vec<ReceiptHandle>> = calls.lock().unwrap().clone();
    assert_eq!((calls.len(), calls[1].as_slice()), (2, &calls[0][2..3]));
    assert_eq!((summary.stored, summary.deleted, summary.undeleted), (5, 5, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redelivery_adds_nothing() {
    let world = World::vault().await;
    send_logins(&world, 40).await;
    world.send(["{"; 3]).await;
    // Committed, and then the process is cut off from the queue.
    let queue = FailingDeletes {
        queue: Sqs::new(&world.sqs_config().await, world.queue_url.clone(), Some(Duration::from_secs(2))),
        fail: |_, _: &[ReceiptHandle]| Some(Err(AwsError::new("sqs:DeleteMessageBatch", AwsFault::Refused))),
        calls: Arc::default(),
    };
    let (result, summary) = drain(&world, queue, world.kms().await).await;
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

/// Delivers the same messages to several consumers at once, to each in an order of its own.
struct SameForAll {
    messages: Mutex<Vec<(String, String)>>,
    sent_timestamp: String,
}

impl Queue for SameForAll {
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
    let runs = consumers.map(|queue| drain(&world, queue, kms.clone()));
    let ended = futures_util::future::join_all(runs).await;
    let stored: u64 = ended.iter().map(|(_, summary)| summary.stored).sum();
    let already: u64 = ended.iter().map(|(_, summary)| summary.already_stored).sum();
    assert!(ended.iter().all(|(result, _)| result.is_ok()), "{ended:?}");
    assert_eq!((stored, already), (400, 1_200));
    assert_eq!(world.count("pii_vault.login_events_2025_12").await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_going_away_pauses_and_loses_nothing() {
    let world = World::vault().await;
    send_logins(&world, 400).await;
    let run = world.start_drain(&["--batch-size", "10", "--writers", "1"]);
    let database = format!("test_{}", world.id);
    let terminate = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}' AND usename LIKE 'ingest%'"
    );
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        world.sql.batch_execute(&terminate).await.unwrap();
    }
    // Now nobody gets in at all for a while.
    let ingest = format!("ingest_{}", world.id);
    world.sql.batch_execute(&format!("ALTER ROLE {ingest} NOLOGIN")).await.unwrap();
    world.sql.batch_execute(&terminate).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.sql.batch_execute(&format!("ALTER ROLE {ingest} LOGIN")).await.unwrap();
    let summary = run.finish().done().json();
    assert_eq!(world.opened_events().await.len(), 400);
    // A commit whose answer was lost counts as already stored when it is tried again.
    assert_eq!(summary["stored"].as_u64().unwrap() + summary["already_stored"].as_u64().unwrap(), 400);
    assert_eq!(summary["dead_letters"], serde_json::json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn patience_ends_and_the_messages_are_still_there() {
    let world = World::vault().await;
    send_logins(&world, 5).await;
    let args = ["etl", "run", "--drain", "--patience", "1s", "--visibility-timeout", "1s"];
    let failed =
        world.pii_vault_with(Who::Ingest, &args, &[("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1")]).finish().exits(1);
    assert!(failed.stderr.contains("kms:Decrypt: no answer"), "{}", failed.stderr);
    assert_eq!(world.queue_depth().await, (5, 0), "nothing was received while KMS was away");

    let failed =
        world.pii_vault_with(Who::Ingest, &args, &[("PII_VAULT_DATA_KMS_KEY", "alias/missing")]).finish().exits(1);
    assert!(failed.stderr.contains("kms:GenerateDataKey: what was asked for does not exist"), "{}", failed.stderr);
    assert_eq!(world.count("pii_vault.dead_letters").await, 0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.drain(&["--wait", "2s"])["stored"], 5);

    let failed = world
        .pii_vault_with(Who::Ingest, &args, &[("PII_VAULT_QUEUE_URL", "http://127.0.0.1:1/000000000000/none")])
        .finish()
        .exits(1);
    assert!(failed.stderr.contains("sqs:ReceiveMessage"), "{}", failed.stderr);
}

/// The real KMS after some calls that fail.
struct Throttled {
    kms: Kms,
    failures_left: AtomicUsize,
}

impl Throttled {
    fn fails(&self) -> Result<(), AwsError> {
        let failing = self.failures_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        failing.map_or(Ok(()), |_| Err(AwsError::new("kms", AwsFault::Unavailable)))
    }
}

impl KeyWrapper for Throttled {
    async fn generate(&self, context: EncryptionContext) -> Result<GeneratedKey, AwsError> {
        self.fails()?;
        self.kms.generate(context).await
    }

    async fn unwrap(&self, kms_key: &str, wrapped: &[u8], context: EncryptionContext) -> Result<SecretKey, AwsError> {
        self.fails()?;
        self.kms.unwrap(kms_key, wrapped, context).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_kms_is_waited_out() {
    let world = World::vault().await;
    send_logins(&world, 25).await;
    world.send(["{"]).await;
    let kms = Throttled { kms: world.kms().await, failures_left: AtomicUsize::new(6) };
    let (result, summary) = drain(&world, sqs(&world).await, kms).await;
    result.unwrap();
    assert_eq!((summary.stored, summary.left_in_queue), (25, 0));
    assert_eq!(summary.dead_letters.values().sum::<u64>(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_token_key_stops_everything() {
    let world = World::vault().await;
    send_logins(&world, 1).await;
    world.sql.batch_execute("UPDATE pii_vault.token_keys SET commitment = sha256('forged')").await.unwrap();
    let stopped = world.pii_vault(Who::Ingest, &["etl", "run", "--drain"]).finish().exits(4);
    assert!(stopped.stderr.contains("not the one that was committed to"), "{}", stopped.stderr);
    assert_eq!(world.queue_depth().await, (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_key_is_picked_up_without_a_restart() {
    let world = World::vault().await;
    let run = world.pii_vault(Who::Ingest, &["etl", "run", "--visibility-timeout", "2s", "--wait", "1s"]);
    send_logins(&world, 10).await;
    wait_for_rows(&world, "token_key_b IS NULL", 10).await;

    let (vault, id) = (world.vault_id().await, KeyId::random());
    let key = world.kms().await.generate(EncryptionContext { vault, purpose: Purpose::Token, key: id }).await.unwrap();
    world
        .sql
        .execute(
            "INSERT INTO pii_vault.token_keys (id, slot, state, wrapped_key, kms_key, commitment) \
             VALUES ($1, 'b', 'pending', $2::bytea, $3, $4::bytea)",
            &[&id.0, &key.wrapped, &key.kms_key, &Commitment::to(&key.plaintext).as_bytes()],
        )
        .await
        .unwrap();
    send_logins(&world, 10).await;
    wait_for_rows(&world, "token_key_a IS NOT NULL AND token_key_b IS NOT NULL", 10).await;
    run.signal("TERM");
    run.finish().done();
    assert_eq!(world.count("pii_vault.login_events").await, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_data_key_is_replaced() {
    let world = World::vault().await;
    let run = world.pii_vault(Who::Ingest, &["etl", "run", "--visibility-timeout", "2s", "--wait", "1s"]);
    send_logins(&world, 10).await;
    wait_for_rows(&world, "true", 10).await;
    world.sql.batch_execute("UPDATE pii_vault.data_keys SET state = 'decrypt-only'").await.unwrap();
    send_logins(&world, 10).await;
    wait_for_rows(&world, "true", 20).await;
    run.signal("TERM");
    run.finish().done();
    let keys = "(SELECT DISTINCT data_key_id FROM pii_vault.login_events) AS keys";
    assert_eq!(world.count(keys).await, 2);
    assert_eq!(world.opened_events().await.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_reader_sends_a_new_month_to_the_default_partition() {
    let world = World::vault().await;
    let reader = world.connect(Who::Analyst).await;
    reader.batch_execute("BEGIN; SELECT count(*) FROM user_logins").await.unwrap();
    send_logins(&world, 5).await;
    let finished = world.start_drain(&[]).finish().done();
    assert_eq!(finished.json()["stored"], 5);
    assert!(finished.stderr.contains("default partition"), "{}", finished.stderr);
    reader.batch_execute("COMMIT").await.unwrap();
    assert_eq!(world.count("pii_vault.login_events_default").await, 5);
}

async fn wait_for_rows(world: &World, condition: &str, count: i64) {
    for _ in 0..200 {
        if world.count(&format!("pii_vault.login_events WHERE {condition}")).await == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no {count} rows with {condition}");
}
