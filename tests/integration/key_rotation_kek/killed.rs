//! Runners that are killed at any moment, alone and beside others.

use std::time::Duration;

use serde_json::json;

use super::scene::{Door, Mood};
use crate::support::{Chance, Running, Who, World, login, soak};

/// Keys of a page, hence what a worker has in hand.
const BATCH: usize = 4;
const WORKERS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn whenever_runners_are_killed_each_key_moves_and_kms_is_asked_twice_for_what_was_in_hand_alone() {
    let (rows, keys, kills) = if soak() { (100_000, 2_000, 100) } else { (2_000, 150, 5) };
    let world = World::vault().await;
    seal(&world, rows);
    let sealing = usize::try_from(world.count("pii_vault.data_keys").await).unwrap();
    assert!(sealing >= rows / 1_000, "{sealing} keys sealed {rows} rows");
    world.add_data_keys(i32::try_from(keys - sealing).unwrap()).await;
    let (old, new) = (world.only_kms_key("data_keys").await, world.another_kms_key().await);
    let (before, stays) = (world.events_as_text().await, world.keys_as_they_stay("data_keys").await);
    let door = Door::before_kms(&world, Mood::Usual).await;

    let mut chance = Chance::new();
    let (mut runners, mut killed, mut started, mut together): (Vec<Running>, _, _, _) = (Vec::new(), 0, 0, 0);
    while killed < kills {
        let args = ["run", "--purpose", "data", "--rate", "60/s"];
        let page = ["--batch", &BATCH.to_string(), "--workers", &WORKERS.to_string()];
        // Who goes on names no KMS key, for the name is asked for.
        let first: &[&str] = if started == 0 { &["--to", &new, "--reason", "x"] } else { &[] };
        runners.push(world.kek_through(&door.url, &[&args[..], &page, first].concat()));
        started += 1;
        // Amid its calls mostly, and now and then before its first one.
        if killed == 0 || chance.below(4) > 0 {
            world.wait_for_changed(i64::try_from(keys * (killed + 1) / (kills + 2)).unwrap()).await;
        }
        tokio::time::sleep(Duration::from_millis(chance.below(150) as u64)).await;
        // Else another joins it.
        if runners.len() == 2 || chance.below(3) > 0 {
            together += runners.len() - 1;
            for _ in 0..=chance.below(runners.len()) {
                runners.remove(chance.below(runners.len())).kill();
                killed += 1;
            }
            assert_consistent(&world, &new).await;
        }
    }
    for mut left in runners {
        left.kill();
    }
    let changed = world.count(&format!("pii_vault.data_keys WHERE kms_key = '{new}'")).await;
    assert!((1..keys as i64).contains(&changed), "each kill was amid work: {changed} of {keys}");
    let ended = world.kek_through(&door.url, &["run", "--purpose", "data"]).finish().done().json();
    assert_eq!((&ended["ended"], &ended["changed"], &ended["failed"]), (&json!("done"), &json!(keys), &json!(0)));

    // One for each key, one for the name, and what was in hand.
    let most = keys + 1 + started * WORKERS * BATCH;
    assert!((keys + 1..=most).contains(&door.calls()), "{} calls, {started} runners", door.calls());
    eprintln!("{killed} kills of {started} runners, {together} beside another: {} calls for {keys} keys", door.calls());
    assert_eq!(world.wrapped_by("data_keys").await, [(new.clone(), keys as i64)]);
    assert_eq!(world.keys_as_they_stay("data_keys").await, stays);
    assert!(world.events_as_text().await == before, "every row opens, to what it was");
    assert_eq!(world.count("pii_vault.rotation_jobs").await, 1, "one job, however often it was started");
    assert_eq!(world.count("pii_vault.rotation_runners").await, 0, "those that were killed are forgotten");
    let verified =
        world.kek(&["verify", "--purpose", "data", "--to", &new, "--sample", "10000"]).finish().done().json();
    assert_eq!((&verified["left"], &verified["unwrapped"]), (&json!(0), &json!(keys)));
    world.kek(&["retire", "--purpose", "data", "--kms-key", &old, "--reason", "left"]).finish().done();
    assert_eq!(world.rotation_steps().await, ["start", "done", "retire"]);
    world.pii_vault(Who::Auditor, &["audit", "verify"]).finish().done();
}

/// Stores rows of as many data keys as there may be: each seals a thousand values.
fn seal(world: &World, rows: usize) {
    let lines: String = (0..rows).map(|number| format!("{}\n", login(number))).collect();
    let limits = ["--data-key-values", "1000", "--batch-size", "100"];
    let args = [&["etl", "run", "--input", "-", "--source", "many", "--date", "2026-03-31"][..], &limits].concat();
    world.pii_vault_given(Who::Ingest, &args, &[], lines.as_bytes()).finish().done();
}

/// What is stored is settled and what is settled is stored, at each moment.
async fn assert_consistent(world: &World, new: &str) {
    let sql = "SELECT (SELECT count(*) FROM pii_vault.data_keys WHERE kms_key = $1), changed, failed, step::text
               FROM pii_vault.rotation_jobs";
    let row = world.sql.query_one(sql, &[&new]).await.unwrap();
    let [stored, changed, failed] = [0, 1, 2].map(|column| row.get::<_, i64>(column));
    assert_eq!((stored, failed, row.get(3)), (changed, 0, "work"));
}
