//! `key-rotation kek abandon` and `data-key abandon`: what is left of a rotation that is given up.

use serde_json::json;

use crate::support::{Who, World, ended};

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_to_a_lost_kms_key_makes_way_for_another() {
    let world = World::vault().await;
    world.ingest(2, 5);
    let kek = |args: &[&str]| {
        world.pii_vault(Who::Rewrap, &[&["key-rotation", "kek"], args, &["--output", "json"]].concat()).finish()
    };
    let abandon = ["abandon", "--purpose", "data", "--reason", "it was deleted"];
    assert_eq!(kek(&abandon).done().json()["job"], json!(null), "nothing is under way");

    // As one that was recorded, and whose KMS key is gone.
    world.allow_raw_rotations().await;
    let lost = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000";
    let record = format!("SELECT pii_vault.record_rewrap('data', '{lost}', false, 'why')::text");
    let job: String = world.connect(Who::Rewrap).await.query_one(&record, &[]).await.unwrap().get(0);
    let run = ["run", "--purpose", "data", "--newest-material", "--reason", "again"];
    assert_eq!(kek(&run).exits(3).json()["refused"], "rotation_unfinished");
    kek(&["run", "--purpose", "data", "--patience", "1s"]).exits(1);

    let abandoned = kek(&abandon).done().json();
    assert_eq!((&abandoned["job"], &abandoned["changed"], &abandoned["total"]), (&json!(job), &json!(0), &json!(2)));
    assert_eq!(kek(&abandon).done().json()["job"], json!(null), "once");
    let again = kek(&run).done().json();
    assert_eq!(ended(&again), ("done", 2, 0));
    assert_ne!(again["job"], json!(job));

    let status = world.pii_vault(Who::Auditor, &["key-rotation", "status"]).finish().done().stdout;
    assert!(status.contains("no rotation is under way"), "{status}");
    let line = status.lines().find(|line| line.contains(&job)).unwrap();
    assert!(line.starts_with("abandoned 2") && line.contains("kek of data keys: 0 of 2 keys changed"), "{line}");
    let log = world.log("key_rotation").await;
    let words: Vec<_> = log.iter().map(|entry| entry["details"]["step"].as_str().unwrap()).collect();
    assert_eq!(words.last(), Some(&"done"));
    let entry = log.iter().find(|entry| entry["details"]["step"] == "abandoned").unwrap();
    assert_eq!((&entry["reason"], &entry["subject"]), (&json!("it was deleted"), &json!(job)));
    world.pii_vault(Who::Auditor, &["audit", "verify"]).finish().done();
    let listed = world.pii_vault(Who::Auditor, &["audit", "list", "--action", "key_rotation"]).finish().done().stdout;
    assert!(listed.contains("kek rotation of data keys: abandoned, 0 keys changed; it was deleted"), "{listed}");
    // A table that says otherwise than the log is found.
    let forged = format!("UPDATE pii_vault.rotation_jobs SET step = 'done' WHERE id = '{job}'");
    world.sql.batch_execute(&forged).await.unwrap();
    world.pii_vault(Who::Auditor, &["audit", "verify"]).finish().exits(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn runners_end_and_the_rows_that_are_left_are_the_next_one_s() {
    let world = World::vault().await;
    world.ingest(2, 300);
    let run = ["run", "--max-age", "0", "--reason", "x", "--batch", "20", "--rate", "100/s"];
    let running = world.start_data_key(&run);
    world.wait_for_resealed(40).await;
    let abandoned = world.data_key(&["abandon", "--reason", "another leaked"]).done().json();
    let changed = abandoned["changed"].as_u64().unwrap();
    assert!((40..600).contains(&changed), "{abandoned}");
    let report = running.finish().exits(3).json();
    assert_eq!(ended(&report), ("abandoned", changed, 0), "what was in hand is undone");
    assert_eq!(report["job"], abandoned["job"]);
    assert_eq!(world.rows_under_old_keys().await, 600 - i64::try_from(changed).unwrap());
    world.data_key(&["verify"]).exits(1);
    assert_eq!(world.count("pii_vault.rotation_runners").await, 0);
    world.data_key(&["run", "--max-age", "0", "--reason", "the rest, and all again"]).done();
    assert_eq!(world.rows_under_old_keys().await, 0);
    world.data_key(&["verify"]).done();
    world.pii_vault(Who::Auditor, &["audit", "verify"]).finish().done();
}
