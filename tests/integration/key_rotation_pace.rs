//! A rate, by the clock: for all workers together, and no longer than somebody lets it run.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Who, World};

#[tokio::test(flavor = "multi_thread")]
async fn many_workers_at_a_low_rate_keep_it_and_stop_at_once() {
    let world = World::vault().await;
    world.ingest(1, 300);
    let run = ["run", "--max-age", "0", "--reason", "x", "--rate", "10/s", "--workers", "64"];
    let running = world.start_data_key(&run);
    world.wait_for_resealed(10).await;
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let sql = "SELECT changed, (SELECT count(*) FROM pii_vault.rotation_runners) FROM pii_vault.rotation_jobs";
    let job = world.sql.query_one(sql, &[]).await.unwrap();
    let (changed, most) = (job.get::<_, i64>(0), 10.0 * (began.elapsed().as_secs_f64() + 2.0));
    assert!(changed >= 30 && (changed as f64) <= most, "{changed} rows, {most} at most");
    let began = Instant::now();
    world.data_key(&["pause", "--reason", "enough"]).done();
    let paused = running.finish().done().json();
    assert_eq!(paused["ended"], "paused");
    let changed = paused["changed"].as_i64().unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());

    let running = world.start_data_key(&["run", "--rate", "1/s", "--workers", "64"]);
    world.wait_for_resealed(changed + 3).await;
    let began = Instant::now();
    running.signal("TERM");
    let stopped = running.finish().done().json();
    assert_eq!(stopped["ended"], "stopped");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    // Nothing waits claimed: the cursor is where the work is.
    let beyond = "pii_vault.login_events AS e, pii_vault.rotation_jobs AS j
        WHERE (e.create_date, e.event_id) <= (j.cursor_day, j.cursor_id) AND e.data_key_id = ANY (j.old_keys)";
    assert!(world.count(beyond).await <= 1);
    world.data_key(&["run"]).done();
    assert_eq!(world.rows_under_old_keys().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_pauses_a_token_key_s_rotation_is_told_whether_anything_was_at_work() {
    let world = World::vault().await;
    world.fill_other_slot_raw(20).await;
    let pause = ["key-rotation", "token-key", "pause", "--reason", "enough", "--output", "json"];
    let as_who = |who: Who| world.pii_vault(who, &pause).finish();
    let ingest = as_who(Who::Ingest).exits(1);
    assert!(ingest.stderr.contains("pii_vault_reseal"), "the first reason: {}", ingest.stderr);
    for step in ["filled", "cut_over"] {
        assert_eq!(as_who(Who::Reseal).done().json()["paused"], false, "{step}");
        assert_eq!(world.rotation_step().await, step);
        assert_eq!(world.count("pii_vault.rotation_jobs WHERE paused").await, 0);
        if step == "filled" {
            let human = world.pii_vault(Who::Reseal, &pause[..5]).finish().done().stdout;
            assert!(human.contains("nothing to pause") && human.contains("cut-over or rollback is next"), "{human}");
            world.administer(&["cut-over"]).finish().done();
        }
    }
    let mut finish = world.administer(&["finish", "--batch", "1", "--rate", "1/s"]);
    finish.wait_for_log("no indexes any more");
    let service = as_who(Who::Reseal).exits(1);
    assert!(service.stderr.contains("a slot is being emptied"), "{}", service.stderr);
    assert!(service.stderr.contains("pii_vault_owner"), "{}", service.stderr);
    let owner = world.administer(&["pause", "--reason", "enough"]).finish().done().json();
    assert_eq!(owner["paused"], true);
    assert_eq!(finish.finish().done().json()["ended"], json!("paused"));
}
