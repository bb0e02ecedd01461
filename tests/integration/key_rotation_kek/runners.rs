//! Several runners, runners that die, runners that are told to stop, and others that change keys meanwhile.

use serde_json::json;

use super::scene::{Door, Mood};
use crate::support::{Who, World};

const KEYS: i64 = 150;

/// A vault with data keys, and a KMS key to move them to.
async fn vault() -> (World, String) {
    let world = World::vault().await;
    world.add_data_keys(KEYS as i32).await;
    let new = world.another_kms_key().await;
    (world, new)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runners_share_the_work() {
    let (world, new) = vault().await;
    let door = Door::before_kms(&world, Mood::Usual).await;
    let run = ["run", "--purpose", "data", "--to", &new, "--reason", "x", "--batch", "10"];
    let runs = [world.kek_through(&door.url, &run), world.kek_through(&door.url, &run)];
    let ended = runs.map(|run| run.finish().done().json());
    assert_eq!(ended[0]["job"], ended[1]["job"]);
    assert_eq!(world.wrapped_by("data_keys").await, [(new, KEYS)]);
    // What one has in hand when the other comes to the end, two pages, is handed out once more; it is changed once.
    assert!((KEYS + 2..=KEYS + 22).contains(&(door.calls() as i64)), "{}", door.calls());
    let job = world.sql.query_one("SELECT total, changed, failed FROM pii_vault.rotation_jobs", &[]).await.unwrap();
    assert_eq!([0, 1, 2].map(|column| job.get::<_, i64>(column)), [KEYS, KEYS, 0]);
    assert_eq!(world.count("pii_vault.rotation_runners").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_or_stopped_or_paused_it_goes_on_where_it_was() {
    let (world, new) = vault().await;
    let door = Door::before_kms(&world, Mood::Usual).await;
    let slow = ["run", "--purpose", "data", "--rate", "40", "--batch", "5", "--workers", "2"];
    let first = [&slow[..], &["--to", &new, "--reason", "x"]].concat();
    let mut run = world.kek_through(&door.url, &first);
    world.wait_for_changed(15).await;
    run.kill();

    let run = world.kek_through(&door.url, &slow);
    world.wait_for_changed(35).await;
    run.signal("TERM");
    let stopped = run.finish().done().json();
    assert_eq!(stopped["ended"], "stopped");

    let run = world.kek_through(&door.url, &slow);
    world.wait_for_changed(60).await;
    let paused = world.kek(&["pause", "--purpose", "data", "--reason", "enough"]).finish().done().json();
    assert_eq!(paused["job"], stopped["job"]);
    let ended = run.finish().done().json();
    assert_eq!(ended["ended"], "paused");
    assert!(ended["changed"].as_i64().unwrap() < KEYS, "{ended}");

    let ended = world.kek_through(&door.url, &["run", "--purpose", "data"]).finish().done().json();
    assert_eq!((&ended["ended"], &ended["changed"], &ended["job"]), (&json!("done"), &json!(KEYS), &stopped["job"]));
    assert_eq!(world.wrapped_by("data_keys").await, [(new.clone(), KEYS)]);
    // What the killed one had in hand, two pages, was asked twice.
    assert!((KEYS + 1..=KEYS + 11).contains(&(door.calls() as i64)), "{}", door.calls());
    world.kek(&["verify", "--purpose", "data", "--to", &new, "--sample", "1000"]).finish().done();
    let steps: Vec<_> = world.log("key_rotation").await.iter().map(|entry| entry["details"]["step"].clone()).collect();
    assert_eq!(steps.first(), Some(&json!("start")));
    assert_eq!(steps.last(), Some(&json!("done")));
    assert!(steps.contains(&json!("pause")) && steps.contains(&json!("resume")), "{steps:?}");
    let none = world.kek(&["pause", "--purpose", "data", "--reason", "x"]).finish().done().json();
    assert_eq!(none["job"], json!(null));
    world.pii_vault(Who::Auditor, &["audit", "verify"]).finish().done();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_somebody_changed_meanwhile_stays_as_it_is_and_is_looked_at_again() {
    let world = World::vault().await;
    world.add_data_keys(3).await;
    let (old, new, third) =
        (world.only_kms_key("data_keys").await, world.another_kms_key().await, world.another_kms_key().await);
    let door = Door::before_kms(&world, Mood::Usual).await;
    let run =
        ["run", "--purpose", "data", "--to", &new, "--reason", "x", "--rate", "5", "--batch", "1", "--workers", "1"];
    // The name is asked for first, so that the keys themselves are what waits.
    let run = world.kek_through(&door.url, &run);
    while world.count("pii_vault.rotation_jobs").await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    door.mood.send_replace(Mood::Waits);
    // Whatever was stored by now, the others wait.
    let others = "FROM pii_vault.data_keys WHERE kms_key <> $1";
    let hold = async || -> Vec<uuid::Uuid> {
        let rows = world.sql.query(&format!("SELECT id {others}"), &[&new]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    };
    door.turned_away(1).await;
    let left = hold().await;
    // Another tool wraps all of them by a third KMS key, and retires one.
    let sql =
        "UPDATE pii_vault.data_keys SET wrapped_key = wrapped_key || '\\x00'::bytea, kms_key = $2 WHERE kms_key <> $1";
    assert_eq!(world.sql.execute(sql, &[&new, &third]).await.unwrap(), left.len() as u64);
    for state in ["decrypt-only", "retired"] {
        let sql = format!("UPDATE pii_vault.data_keys SET state = '{state}' WHERE id = $1");
        world.sql.execute(&sql, &[&left[0]]).await.unwrap();
    }
    door.mood.send_replace(Mood::Usual);
    // What the other tool left does not unwrap: found at the next pass, as it is then.
    let ended = run.finish().exits(if left.len() > 1 { 4 } else { 0 }).json();
    assert_eq!(ended["failed"], json!(left.len() - 1), "{ended}");
    let wrapped = world.wrapped_by("data_keys").await;
    let by = |kms_key: &str| wrapped.iter().find(|(by, _)| by == kms_key).map_or(0, |(_, count)| *count);
    assert_eq!((by(&third), by(&old)), (left.len() as i64, 0), "nothing was overwritten: {wrapped:?}");
}
