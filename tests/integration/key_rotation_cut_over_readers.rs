//! Who reads while tokens change places: waited for, named, and never shown anything but what she saw first.

use std::time::Duration;

use tokio_postgres::Client;

use crate::support::{Who, World};

const ROWS: i64 = 300;

async fn filled() -> World {
    let world = World::vault().await;
    world.fill_other_slot_raw(ROWS.try_into().unwrap()).await;
    world
}

async fn pid(client: &Client) -> i32 {
    client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0)
}

async fn shown(analyst: &Client) -> Vec<(String, String)> {
    let sql = "SELECT masked_ip::text, masked_device_id::text FROM user_logins ORDER BY event_id";
    analyst.query(sql, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_snapshot_is_waited_for_and_sees_its_own_tokens_to_the_end() {
    // A concurrent build waits for her as well: with indexes to be built, and where nothing is left but to show the tokens.
    for indexed in [false, true] {
        let world = filled().await;
        let analyst = world.connect(Who::Analyst).await;
        while let Some(statement) = next_index(&world).await.filter(|_| indexed) {
            world.sql.batch_execute(&statement).await.unwrap();
        }
        world
            .sql
            .batch_execute(
                "CREATE TABLE public.saved AS SELECT * FROM pii_vault.login_events;
                UPDATE pii_vault.login_events SET ip_token_b = NULL, device_id_token_b = NULL, token_key_b = NULL",
            )
            .await
            .unwrap();
        let before = shown(&analyst).await;
        // Before the rows have new tokens.
        analyst.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class").await.unwrap();
        world
            .sql
            .batch_execute(
                "UPDATE pii_vault.login_events AS e SET ip_token_b = s.ip_token_b,
                device_id_token_b = s.device_id_token_b, token_key_b = s.token_key_b
                FROM public.saved AS s WHERE s.event_id = e.event_id AND s.create_date = e.create_date",
            )
            .await
            .unwrap();
        let refused = world.administer(&["cut-over", "--patience", "2s"]).finish().exits(1);
        let named = format!("pid {} (analyst_{}", pid(&analyst).await, world.id);
        let what = if indexed { "to show the new tokens" } else { "to index the new slot" };
        assert!(refused.stderr.contains(&named) && refused.stderr.contains(what), "{named}: {}", refused.stderr);
        assert!(!refused.stderr.contains("pg_class"), "what she asks is hers: {}", refused.stderr);
        assert_eq!(world.token_states().await, "a active, b pending; a");
        let waiting = world.administer(&["cut-over", "--patience", "60s"]);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(shown(&analyst).await, before);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(shown(&analyst).await, before);
        assert_eq!(world.token_states().await, "a active, b pending; a");
        analyst.batch_execute("COMMIT").await.unwrap();
        waiting.finish().done();
        let after = shown(&analyst).await;
        assert!(before.iter().zip(&after).all(|(before, after)| before.0 != after.0 && before.1 != after.1));
    }
}

async fn next_index(world: &World) -> Option<String> {
    world.sql.query_one("SELECT statement FROM pii_vault.next_index('b')", &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_from_after_the_indexes_is_waited_for_as_well() {
    let world = filled().await;
    let mut run = world.administer(&["cut-over"]);
    run.wait_for_log("are indexed");
    run.kill();
    let analyst = world.connect(Who::Analyst).await;
    analyst.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class").await.unwrap();
    let refused = world.administer(&["cut-over", "--patience", "1s"]).finish().exits(1);
    let named = format!("pid {} (analyst_{}", pid(&analyst).await, world.id);
    assert!(refused.stderr.contains(&named) && refused.stderr.contains("to show the new tokens"), "{}", refused.stderr);
    assert_eq!(world.token_states().await, "a active, b pending; a");
    analyst.batch_execute("COMMIT").await.unwrap();
    world.administer(&["cut-over"]).finish().done();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_written_and_reads_nothing_is_not_waited_for() {
    let world = filled().await;
    // Its number is below that of every later snapshot, for as long as it runs.
    let writer = world.superuser().await;
    writer.batch_execute("CREATE TABLE public.other (); BEGIN; SELECT pg_current_xact_id()").await.unwrap();
    // At every instant one of these has a snapshot.
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let reader = world.connect(Who::Analyst).await;
        readers.spawn(async move {
            loop {
                reader.batch_execute("SELECT count(*) FROM user_logins, pg_sleep(0.1)").await.unwrap();
            }
        });
    }
    world.administer(&["cut-over", "--patience", "15s"]).finish().done();
    readers.abort_all();
    writer.batch_execute("COMMIT").await.unwrap();
}

/// Before the view changes, nothing may be kept from lacking tokens or be indexed without a look at who reads.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_reader_holds_each_step_up_within_bounds_and_is_named() {
    let world = filled().await;
    let analyst = world.connect(Who::Analyst).await;
    let named = format!("pid {} (analyst_{}", pid(&analyst).await, world.id);
    let refused = |args: &[&str], what: &str| {
        let refused = world.administer(&[args, &["--patience", "1s"]].concat()).finish().exits(1);
        assert!(
            refused.stderr.contains(&named) && refused.stderr.contains(what),
            "{what}, {named}: {}",
            refused.stderr
        );
    };
    analyst.batch_execute("BEGIN; SELECT count(*) FROM user_logins").await.unwrap();
    refused(&["cut-over"], "to keep the new slot filled");
    analyst.batch_execute("COMMIT").await.unwrap();
    let mut run = world.administer(&["cut-over"]);
    run.wait_for_log("are indexed");
    run.kill();
    let analyst_reads = "BEGIN; SELECT count(*) FROM user_logins";
    analyst.batch_execute(analyst_reads).await.unwrap();
    if world.rotation_step().await == "filled" {
        refused(&["cut-over"], "to replace the view");
        assert_eq!(world.token_states().await, "a active, b pending; a");
    }
    let waiting = world.administer(&["cut-over", "--patience", "60s"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Who comes meanwhile waits behind it for 2 s at most.
    let other = world.connect(Who::Analyst).await;
    let began = std::time::Instant::now();
    assert_eq!(shown(&other).await.len(), 300);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    analyst.batch_execute("COMMIT").await.unwrap();
    waiting.finish().done();

    analyst.batch_execute(analyst_reads).await.unwrap();
    refused(&["finish"], "to drop the indexes");
    analyst.batch_execute("COMMIT").await.unwrap();
    world.administer(&["finish"]).finish().done();
}

/// It belongs to no session: there is nobody to ask or to disconnect.
#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_holds_each_step_up_within_bounds_and_is_named() {
    let world = filled().await;
    let name = format!("of {}\u{1b}[2J", world.id);
    let refused = |args: &[&str], owner: &str, what: &str| {
        let refused = world.administer(&[args, &["--patience", "1s"]].concat()).finish().exits(1);
        let named = format!("the prepared transaction \"of {}\\u{{1b}}[2J\" ({owner}", world.id);
        let ends = "ROLLBACK PREPARED ends it";
        let said = &refused.stderr;
        assert!([named.as_str(), what, ends].iter().all(|word| said.contains(word)), "{named}, {what}: {said}");
    };
    let analyst = world.connect(Who::Analyst).await;
    let read = format!("BEGIN; SELECT count(*) FROM user_logins; PREPARE TRANSACTION '{name}'");
    let rollback = format!("ROLLBACK PREPARED '{name}'");
    analyst.batch_execute(&read).await.unwrap();
    refused(&["cut-over"], "pii_vault_analyst", "to keep the new slot filled");
    world.sql.batch_execute(&rollback).await.unwrap();
    world.sql.batch_execute("SELECT pii_vault.keep_filled('b')").await.unwrap();
    let write = "BEGIN; LOCK TABLE pii_vault.login_events IN ROW EXCLUSIVE MODE";
    world.sql.batch_execute(&format!("{write}; PREPARE TRANSACTION '{name}'")).await.unwrap();
    refused(&["cut-over"], "postgres", "to index the new slot");
    world.sql.batch_execute(&rollback).await.unwrap();
    while let Some(statement) = next_index(&world).await {
        world.sql.batch_execute(&statement).await.unwrap();
    }
    analyst.batch_execute(&read).await.unwrap();
    refused(&["cut-over"], "pii_vault_analyst", "to replace the view");
    assert_eq!(world.token_states().await, "a active, b pending; a");
    world.sql.batch_execute(&rollback).await.unwrap();

    let ingest = world.connect(Who::Ingest).await;
    let batch = format!(
        "BEGIN; SELECT pii_vault.hold_keys('{{}}', '{{}}', (SELECT array_agg(id) FROM pii_vault.token_keys)); \
         PREPARE TRANSACTION '{name}'"
    );
    ingest.batch_execute(&batch).await.unwrap();
    refused(&["cut-over"], "pii_vault_ingest", "to replace the view");
    refused(&["rollback", "--reason", "a test"], "pii_vault_ingest", "to replace the view");
    assert_eq!(world.token_states().await, "a active, b pending; a");
    world.sql.batch_execute(&rollback).await.unwrap();
    world.administer(&["cut-over"]).finish().done();
    ingest.batch_execute(&batch).await.unwrap();
    refused(&["finish"], "pii_vault_ingest", "to take the old token key out of use");
    world.sql.batch_execute(&rollback).await.unwrap();
    world.administer(&["finish"]).finish().done();
}
