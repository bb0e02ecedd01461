//! Cut-over, finish and rollback, killed after each step and anywhere: the next run goes on, and readers see one key.

use std::time::Duration;

use crate::support::{Running, Who, World, soak};

const ROWS: i64 = 300;

async fn killed_at(world: &World, start: impl Fn() -> Running, log: &str) {
    let mut run = start();
    run.wait_for_log(log);
    run.kill();
    // What the server has in hand it ends by itself.
    let analyst = world.connect(Who::Analyst).await;
    let sql = "SELECT count(*), count(masked_ip), count(masked_device_id) FROM user_logins";
    let row = analyst.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, i64>(2)), (ROWS, ROWS, ROWS), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_each_step_the_next_run_goes_on() {
    let world = World::vault().await;
    world.fill_other_slot_raw(ROWS.try_into().unwrap()).await;
    let cut_over = || world.administer(&["cut-over"]);
    for log in
        ["no new row can lack", "every row has new tokens", "are indexed", "are equal under both", "older snapshot"]
    {
        killed_at(&world, cut_over, log).await;
        // A month that comes in between has what the others have.
        let months: i64 = world.count("pg_inherits WHERE inhparent = 'pii_vault.login_events'::regclass").await;
        let sql = format!("SELECT pii_vault.ensure_month((current_date - interval '{} month')::date)", months + 5);
        assert!(world.sql.query_one(&sql, &[]).await.unwrap().get::<_, bool>(0));
        let step = world.rotation_step().await;
        assert!(step == "filled" || step == "cut_over" && log == "older snapshot", "{step} after {log:?}");
    }
    cut_over().finish().done();
    assert_eq!(world.token_states().await, "a pending, b active; b");
    assert_eq!(
        world.slot_traces().await,
        ["device_id_token_a", "device_id_token_b", "ip_token_a", "ip_token_b", "slot_b_is_filled"]
    );
    let built: i64 = world.count("pii_vault.next_index('b') WHERE statement IS NULL AND built = total").await;
    assert_eq!(built, 1);
    let done = cut_over().finish().done().json();
    assert!(done["rows"].is_null(), "cut over before: {done}");

    let finish = || world.administer(&["finish", "--batch", "10", "--rate", "100/s"]);
    for log in ["the old key makes no tokens", "no indexes any more"] {
        killed_at(&world, finish, log).await;
        assert_eq!(world.token_states().await, "a decrypt-only, b active; b");
    }
    let mut run = finish();
    for _ in 0..600 {
        if world.slot_a_rows().await < ROWS {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    run.kill();
    let left = world.slot_a_rows().await;
    assert!(left > 0 && left < ROWS, "killed in the middle: {left}");
    let refused = world.administer(&["rollback", "--reason", "too late"]).finish().exits(3).json();
    assert_eq!(refused["refused"], "finished");
    // Two at once share what is left.
    let mut slow = finish();
    slow.wait_for_log("no indexes any more");
    world.administer(&["finish"]).finish().done();
    slow.finish().done();
    assert_eq!((world.slot_a_rows().await, world.slot_b_rows().await), (0, ROWS));
    assert_eq!(world.rotation_step().await, "done");
    assert_eq!(world.odd_partitions().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_goes_on_too() {
    let world = World::vault().await;
    world.fill_other_slot_raw(ROWS.try_into().unwrap()).await;
    world.administer(&["cut-over"]).finish().done();
    let begin = || world.administer(&["rollback", "--reason", "a test", "--batch", "10", "--rate", "100/s"]);
    killed_at(&world, begin, "the old tokens show").await;
    assert_eq!(world.token_states().await, "a active, b decrypt-only; a");
    let refused = world.administer(&["finish"]).finish().exits(3).json();
    assert_eq!(refused["refused"], "rolled_back");
    killed_at(&world, begin, "no indexes any more").await;
    world.administer(&["rollback"]).finish().done();
    assert_eq!((world.slot_a_rows().await, world.slot_b_rows().await), (ROWS, 0));
    assert_eq!(world.slot_traces().await, ["device_id_token_a", "ip_token_a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn anywhere_readers_see_one_key_and_the_next_run_goes_on() {
    let rounds = if soak() { 100 } else { 8 };
    let world = World::vault().await;
    world.fill_other_slot_raw(ROWS.try_into().unwrap()).await;
    for round in 0..rounds {
        let mut run = world.administer(&["cut-over"]);
        tokio::time::sleep(Duration::from_millis(20 + 400 * round / rounds)).await;
        run.kill();
        let sql = "user_logins WHERE masked_ip IS NOT NULL AND masked_device_id IS NOT NULL";
        assert_eq!(world.count(sql).await, ROWS);
        let states = world.token_states().await;
        assert!(states == "a active, b pending; a" || states == "a pending, b active; b", "{states}");
    }
    world.administer(&["cut-over"]).finish().done();
    assert_eq!(world.token_states().await, "a pending, b active; b");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_interrupted_build_left_is_built_anew() {
    let world = World::vault().await;
    world.fill_other_slot_raw(ROWS.try_into().unwrap()).await;
    let reader = world.superuser().await;
    reader.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class").await.unwrap();
    world.sql.batch_execute("SET statement_timeout = '500ms'").await.unwrap();
    let build = "CREATE INDEX CONCURRENTLY ON pii_vault.login_events_default (ip_token_b)";
    world.sql.batch_execute(build).await.unwrap_err();
    world.sql.batch_execute("RESET statement_timeout").await.unwrap();
    reader.batch_execute("COMMIT").await.unwrap();
    assert_eq!(world.count("pg_index WHERE NOT indisvalid").await, 1);
    world.administer(&["cut-over"]).finish().done();
    assert_eq!(world.count("pg_index WHERE NOT indisvalid").await, 0);
}
