//! Faults: servers that go away, keys that change. Where no endpoint gives the fault, a double injects it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pii_vault::aws::{AwsError, AwsFault, EncryptionContext, GeneratedKey, KeyWrapper, Kms};
use pii_vault::crypto::{Commitment, SecretKey};
use pii_vault::domain::{KeyId, Purpose};

use crate::support::{Who, World};

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_going_away_pauses_and_loses_nothing() {
    let world = World::vault().await;
    world.send_logins(400).await;
    let mut run = world.start_drain(&["--batch-size", "10", "--writers", "1"]);
    // What fails at the very start fails at once, so that a wrong setting is told at once.
    run.wait_for_log("new sealing key");
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
async fn nothing_is_received_while_nothing_can_be_stored() {
    let world = World::vault().await;
    world.send_logins(10).await;
    let ingest = format!("ingest_{}", world.id);
    let run =
        world.pii_vault(Who::Ingest, &["etl", "run", "--wait", "1s", "--visibility-timeout", "1s", "--output", "json"]);
    world.wait_for_rows("true", 10).await;
    world.sql.batch_execute(&format!("ALTER ROLE {ingest} NOLOGIN")).await.unwrap();
    let terminate = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ingest}'");
    world.sql.batch_execute(&terminate).await.unwrap();
    world.send_logins(20).await;
    // Several times the visibility timeout: received again and again, they would pile up.
    tokio::time::sleep(Duration::from_secs(12)).await;
    world.sql.batch_execute(&format!("ALTER ROLE {ingest} LOGIN")).await.unwrap();
    world.wait_for_rows("true", 30).await;
    run.signal("TERM");
    let summary = run.finish().done().json();
    assert!(summary["received"].as_u64().unwrap() <= 130, "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_on_disk_whatever_the_database_says() {
    let world = World::vault().await;
    world.sql.batch_execute(&format!("ALTER DATABASE test_{} SET synchronous_commit = off", world.id)).await.unwrap();
    let url = world.database_url(Who::Ingest);
    let server = pii_vault::db::Server::parse(&url.into()).unwrap();
    let mut conn = server.connect(pii_vault::db::Role::Ingest).await.unwrap();
    let setting: String = diesel_async::RunQueryDsl::get_result(
        diesel::select(diesel::dsl::sql::<diesel::sql_types::Text>("current_setting('synchronous_commit')")),
        &mut conn,
    )
    .await
    .unwrap();
    assert_eq!(setting, "on");
}

#[tokio::test(flavor = "multi_thread")]
async fn patience_ends_and_the_messages_are_still_there() {
    let world = World::vault().await;
    world.send_logins(5).await;
    let args = ["etl", "run", "--drain", "--wait", "1s", "--patience", "1s", "--visibility-timeout", "1s"];
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
    world.send_logins(25).await;
    world.send(["{"]).await;
    let kms = Throttled { kms: world.kms().await, failures_left: AtomicUsize::new(6) };
    let (result, summary) = world.drain_in_process(world.sqs().await, kms).await;
    result.unwrap();
    assert_eq!((summary.stored, summary.left_in_queue), (25, 0));
    assert_eq!(summary.dead_letters.values().sum::<u64>(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_token_key_stops_everything() {
    let world = World::vault().await;
    world.send_logins(1).await;
    world.past_triggers("UPDATE pii_vault.token_keys SET commitment = sha256('forged')").await;
    let stopped = world.pii_vault(Who::Ingest, &["etl", "run", "--drain"]).finish().exits(4);
    assert!(stopped.stderr.contains("not the one that was committed to"), "{}", stopped.stderr);
    assert_eq!(world.queue_depth().await, (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_key_is_picked_up_without_a_restart() {
    let world = World::vault().await;
    let run = world.pii_vault(Who::Ingest, &["etl", "run", "--visibility-timeout", "2s", "--wait", "1s"]);
    world.send_logins(10).await;
    world.wait_for_rows("token_key_b IS NULL", 10).await;

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
    world.send_logins(10).await;
    world.wait_for_rows("token_key_a IS NOT NULL AND token_key_b IS NOT NULL", 10).await;
    run.signal("TERM");
    run.finish().done();
    assert_eq!(world.count("pii_vault.login_events").await, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_data_key_is_replaced() {
    let world = World::vault().await;
    let run = world.pii_vault(Who::Ingest, &["etl", "run", "--visibility-timeout", "2s", "--wait", "1s"]);
    world.send_logins(10).await;
    world.wait_for_rows("true", 10).await;
    world.sql.batch_execute("UPDATE pii_vault.data_keys SET state = 'decrypt-only'").await.unwrap();
    world.send_logins(10).await;
    world.wait_for_rows("true", 20).await;
    run.signal("TERM");
    run.finish().done();
    let keys = "(SELECT DISTINCT data_key_id FROM pii_vault.login_events) AS keys";
    assert_eq!(world.count(keys).await, 2);
    assert_eq!(world.opened_events().await.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_reader_sends_a_new_month_to_the_default_partition() {
    let world = World::vault().await;
    // `init` made this month's partition already.
    let drop =
        "DO $$ BEGIN EXECUTE (SELECT string_agg(format('DROP TABLE %s', inhrelid::regclass), '; ') FROM pg_inherits
        WHERE inhparent = 'pii_vault.login_events'::regclass
        AND inhrelid <> 'pii_vault.login_events_default'::regclass); END $$";
    world.sql.batch_execute(drop).await.unwrap();
    let reader = world.connect(Who::Analyst).await;
    reader.batch_execute("BEGIN; SELECT count(*) FROM user_logins").await.unwrap();
    world.send_logins(5).await;
    let finished = world.start_drain(&[]).finish().done();
    assert_eq!(finished.json()["stored"], 5);
    assert!(finished.stderr.contains("default partition"), "{}", finished.stderr);
    reader.batch_execute("COMMIT").await.unwrap();
    assert_eq!(world.count("pii_vault.login_events_default").await, 5);
}
