//! A KMS key goes out of use, whatever others are about to store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use uuid::Uuid;

use crate::support::{Finished, Who, World, sqlstate};

fn retire(world: &World, kms_key: &str) -> Finished {
    world.kek(&["retire", "--purpose", "data", "--kms-key", kms_key, "--reason", "moved"]).finish()
}

/// As ingestion stores a new key; the bytes do not matter.
fn insert(kms_key: &str) -> String {
    format!(
        "INSERT INTO pii_vault.data_keys (id, wrapped_key, kms_key, commitment, max_step) \
         VALUES ('{}', decode(repeat('00', 60), 'hex'), '{kms_key}', sha256('x'), 60)",
        Uuid::new_v4()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_refused_while_it_wraps_a_key_and_from_then_on_it_wraps_none() {
    let world = World::vault().await;
    world.send_logins(10).await;
    world.drain(&[]);
    let (old, new) = (world.only_kms_key("data_keys").await, world.another_kms_key().await);
    assert_eq!(retire(&world, &new).exits(3).json()["refused"], "unknown");
    let refused = retire(&world, &old).exits(3).json();
    assert_eq!(refused["refused"], "in_use");
    assert!(refused["next"].as_str().unwrap().contains("kek run --purpose data"), "{refused}");
    for not in ["alias/pii-vault-data", "1234"] {
        retire(&world, not).exits(2);
    }

    world.kek(&["run", "--purpose", "data", "--to", &new, "--reason", "x"]).finish().done();
    assert_eq!(retire(&world, &old).done().json(), json!({"kms_key": old, "purpose": "data", "new": true}));
    assert_eq!(retire(&world, &old).done().json()["new"], false);
    let log = world.log("key_rotation").await;
    let entry = log.last().unwrap();
    assert_eq!((&entry["reason"], &entry["details"]["step"]), (&json!("moved"), &json!("retire")));
    assert_eq!(entry["details"]["kms_key"], json!(old));
    let job = world.sql.query_one("SELECT id::text FROM pii_vault.rotation_jobs", &[]).await.unwrap();
    assert_eq!(entry["subject"], json!(job.get::<_, String>(0)), "the rotation that left it");

    // The alias still names it: ingestion ends, says what to do, and nothing is lost.
    world.send_logins(10).await;
    let ended = world.pii_vault(Who::Ingest, &["etl", "run", "--drain", "--wait", "1s"]).finish().exits(1);
    assert!(ended.stderr.contains("retired") && ended.stderr.contains("PII_VAULT_DATA_KMS_KEY"), "{}", ended.stderr);
    assert_eq!(world.count("pii_vault.login_events").await, 10);
    let (visible, hidden) = world.queue_depth().await;
    assert_eq!(visible + hidden, 10);
    // For another purpose it is a KMS key like any other; nothing wrapped is turned back to it.
    let other = format!("UPDATE pii_vault.token_keys SET kms_key = '{old}'");
    world.sql.batch_execute(&format!("BEGIN; {other}; ROLLBACK")).await.unwrap();
    let back = format!("UPDATE pii_vault.data_keys SET kms_key = '{old}'");
    assert_eq!(sqlstate(&world.sql, &back).await.as_deref(), Some("23514"));
    world.move_alias("data", &new).await;
    world.pii_vault(Who::Auditor, &["audit", "verify"]).finish().done();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_being_stored_is_waited_for_and_one_that_comes_later_is_refused() {
    let world = World::vault().await;
    world.add_data_keys(2).await;
    let (old, new) = (world.only_kms_key("data_keys").await, world.another_kms_key().await);
    world.kek(&["run", "--purpose", "data", "--to", &new, "--reason", "x"]).finish().done();
    let (ingest, other) = (world.connect(Who::Ingest).await, world.connect(Who::Ingest).await);

    ingest.batch_execute(&format!("BEGIN; {}", insert(&old))).await.unwrap();
    let busy = retire(&world, &old).exits(1);
    assert!(busy.stderr.contains("in hand for too long"), "{}", busy.stderr);
    let waiting = world.kek(&["retire", "--purpose", "data", "--kms-key", &old, "--reason", "x"]);
    let locks = "pg_locks AS l JOIN pg_database AS d ON d.oid = l.database WHERE d.datname = current_database() \
                 AND NOT l.granted AND l.mode = 'ShareRowExclusiveLock'";
    while world.count(locks).await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    ingest.batch_execute("COMMIT").await.unwrap();
    assert_eq!(waiting.finish().exits(3).json()["refused"], "in_use", "it sees what was stored");

    // Whose snapshot is older than the retirement cannot tell, and is refused for that.
    world.kek(&["run", "--purpose", "data", "--to", &new, "--reason", "x"]).finish().exits(4);
    world.sql.execute("DELETE FROM pii_vault.data_keys WHERE kms_key = $1", &[&old]).await.unwrap();
    other.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pii_vault.vault").await.unwrap();
    retire(&world, &old).done();
    assert_eq!(sqlstate(&other, &insert(&old)).await.as_deref(), Some("25000"));
    assert_eq!(sqlstate(&ingest, &insert(&old)).await.as_deref(), Some("23514"));
    assert_eq!(world.wrapped_by("data_keys").await, [(new, 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_race_leaves_a_key_under_a_retired_kms_key() {
    let world = World::vault().await;
    world.add_data_keys(1).await;
    let new = world.another_kms_key().await;
    world.kek(&["run", "--purpose", "data", "--to", &new, "--reason", "x"]).finish().done();
    for round in 0..20 {
        let old = format!("arn:aws:kms:us-east-1:1:key/{round}");
        // Known, and left.
        world.sql.batch_execute(&insert(&old)).await.unwrap();
        let leave = "UPDATE pii_vault.data_keys SET state = $2::text::pii_vault.key_state WHERE kms_key = $1 AND state = 'active'";
        world.sql.execute(leave, &[&old, &"decrypt-only"]).await.unwrap();
        let (stop, stored) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut inserters = Vec::new();
        for _ in 0..3 {
            let (client, old) = (world.connect(Who::Ingest).await, old.clone());
            let (stop, stored) = (stop.clone(), stored.clone());
            inserters.push(tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    match sqlstate(&client, &insert(&old)).await.as_deref() {
                        None => {
                            stored.fetch_add(1, Ordering::SeqCst);
                            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                        }
                        Some(code) => {
                            assert_eq!(code, "23514");
                            return;
                        }
                    }
                }
            }));
        }
        let rewrap = world.connect(Who::Rewrap).await;
        let cleaner = world.superuser().await;
        loop {
            // As a rotation empties it again and again.
            cleaner
                .execute("DELETE FROM pii_vault.data_keys WHERE kms_key = $1 AND state = 'active'", &[&old])
                .await
                .unwrap();
            cleaner
                .execute(
                    "UPDATE pii_vault.data_keys SET state = 'retired' WHERE kms_key = $1 AND state = 'decrypt-only'",
                    &[&old],
                )
                .await
                .unwrap();
            let sql = "SELECT outcome::text FROM pii_vault.retire_kms_key('data', $1, 'x')";
            let outcome: String = rewrap.query_one(sql, &[&old]).await.unwrap().get(0);
            if outcome == "retired" {
                break;
            }
            assert!(["in_use", "busy"].contains(&outcome.as_str()), "{outcome}");
        }
        for inserter in inserters {
            inserter.await.unwrap();
        }
        stop.store(true, Ordering::SeqCst);
        let under = format!("pii_vault.data_keys WHERE kms_key = '{old}' AND state <> 'retired'");
        assert_eq!(world.count(&under).await, 0, "round {round}, after {} were stored", stored.load(Ordering::SeqCst));
    }
}
