//! Some keys of a purpose, by their age or their ids, and no others.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Finished, Who, World, sqlstate};

/// The bytes and the KMS key of each, by the key.
async fn wrapped(world: &World) -> BTreeMap<Uuid, (Vec<u8>, String)> {
    let sql = "SELECT id, wrapped_key::bytea, kms_key FROM pii_vault.data_keys";
    let rows = world.sql.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()
}

fn data(world: &World, args: &[&str]) -> Finished {
    world.kek(&[args, &["--purpose", "data"]].concat()).finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_keys_and_named_ones_are_wrapped_anew_and_all_others_stay() {
    let world = World::vault().await;
    world.add_data_keys(6).await;
    let before = wrapped(&world).await;
    let keys: Vec<_> = before.keys().copied().collect();
    let old = format!(
        "UPDATE pii_vault.data_keys SET wrapped_at = now() - interval '91 days' WHERE id IN ('{}', '{}')",
        keys[0], keys[1]
    );
    world.sql.batch_execute(&old).await.unwrap();
    let planned = |args: &[&str]| data(&world, &[&["plan"], args].concat()).done().json()["keys"].clone();
    let third = keys[2].to_string();
    assert_eq!(planned(&["--max-age", "90d"]), 2);
    assert_eq!(planned(&["--max-age", "90d", "--key", &third]), 3);
    assert_eq!(planned(&["--max-age", "92d"]), 0);
    assert_eq!(planned(&["--max-age", "0"]), 6);

    // Under the KMS key that wraps them already: by its newest material.
    let run = data(&world, &["run", "--max-age", "90d", "--key", &third, "--reason", "quarterly"]).done().json();
    assert_eq!((&run["ended"], &run["changed"], &run["total"]), (&json!("done"), &json!(3), &json!(3)));
    let after = wrapped(&world).await;
    let changed = |after: &BTreeMap<_, (Vec<u8>, String)>| -> Vec<Uuid> {
        keys.iter().copied().filter(|key| after[key] != before[key]).collect()
    };
    assert_eq!(changed(&after), keys[..3]);
    let details = world.log("key_rotation").await[0]["details"].clone();
    assert_eq!((&details["max_age"], &details["named"]), (&json!(7_776_000), &json!([third])));
    assert_eq!((&details["keys"], &details["old_keys"]), (&json!(3), &json!(keys[..3])));
    let nothing = data(&world, &["run", "--max-age", "90d", "--reason", "quarterly"]).done().json();
    assert_eq!((&nothing["ended"], world.log("key_rotation").await.len()), (&json!("nothing to do"), 2));
    // That says nothing of the others.
    let unproven = data(&world, &["verify", "--newest-material"]).exits(1).json();
    assert_eq!(unproven["older_material"], Value::Null);

    // To another KMS key, and no more than named.
    let (new, fourth) = (world.another_kms_key().await, keys[3].to_string());
    assert_eq!(planned(&["--to", &new, "--key", &fourth]), 1);
    assert_eq!(data(&world, &["run", "--to", &new, "--key", &fourth, "--reason", "x"]).done().json()["changed"], 1);
    let moved: Vec<_> = wrapped(&world).await.into_iter().filter(|(_, (_, kms_key))| *kms_key == new).collect();
    assert_eq!(moved.iter().map(|(key, _)| *key).collect::<Vec<_>>(), keys[3..4]);
    world.pii_vault(Who::Auditor, &["audit", "verify"]).finish().done();
    let listed = world.pii_vault(Who::Auditor, &["audit", "list", "--action", "key_rotation"]).finish().done().stdout;
    assert!(listed.contains(&format!("kek rotation of data keys: start, 1 key, to {new}; x")), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_key_is_refused_and_a_job_of_some_keys_is_of_no_others() {
    let world = World::vault().await;
    world.add_data_keys(3).await;
    let keys: Vec<_> = wrapped(&world).await.into_keys().collect();
    let (one, other) = (keys[0].to_string(), keys[1].to_string());
    for wrong in [
        &["--key", "00000000-0000-4000-8000-000000000009"][..],
        &["--key", &one, "--newest-material"],
        &["--max-age", "90d", "--newest-material"],
        &["--max-age", "old"],
    ] {
        data(&world, &[&["run", "--reason", "x"], wrong].concat()).exits(2);
    }
    assert_eq!(world.log("key_rotation").await.len(), 0);

    let rewrap = world.connect(Who::Rewrap).await;
    let target = world.only_kms_key("data_keys").await;
    let record = |more: &str| format!("SELECT pii_vault.record_rewrap('data', '{target}', {more})");
    for (wrong, code) in [
        (format!("true, 'x', '{{{one}}}'"), "22023"),
        ("false, 'x', NULL, '-1 day'".to_owned(), "22023"),
        (format!("false, ' ', '{{{one}}}'"), "23514"),
    ] {
        assert_eq!(sqlstate(&rewrap, &record(&wrong)).await.as_deref(), Some(code), "{wrong}");
    }
    let mine = record(&format!("false, 'x', '{{{one}}}'"));
    let job: Uuid = rewrap.query_one(&mine, &[]).await.unwrap().get(0);
    assert_eq!(rewrap.query_one(&mine, &[]).await.unwrap().get::<_, Uuid>(0), job, "the same is the same");
    for another in [format!("false, 'x', '{{{other}}}'"), "true, 'x'".to_owned(), "false, 'x'".to_owned()] {
        assert_eq!(sqlstate(&rewrap, &record(&another)).await.as_deref(), Some("55006"), "{another}");
    }
    rewrap.batch_execute(&format!("SELECT pii_vault.arm_rotation('{job}', gen_random_uuid())")).await.unwrap();
    let fetch =
        format!("SELECT key_id FROM pii_vault.fetch_rewrap('{job}', NULL, NULL, '2999-01-01', gen_random_uuid())");
    let fetched: Vec<Uuid> = rewrap.query(&fetch, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(fetched, keys[..1]);
    let store = |key: &str| {
        format!(
            "SELECT pii_vault.store_rewrap('{job}', '{{{key}}}', ARRAY[''::bytea], ARRAY[''::bytea], '{{{target}}}')"
        )
    };
    assert_eq!(sqlstate(&rewrap, &store(&other)).await.as_deref(), Some("22023"));
    assert_eq!(sqlstate(&rewrap, &store(&one)).await, None);

    // What is under way goes on, and no other in its place; what is asked of all is not answered by some.
    for another in [&["--newest-material"][..], &["--reason", "yearly"], &["--key", &one, "--key", &other]] {
        let refused = data(&world, &[&["run"], another].concat()).exits(3).json();
        assert_eq!(refused["refused"], "rotation_unfinished", "{another:?}");
    }
    let ended = data(&world, &["run", "--key", &one, "--max-age", "90d"]).done();
    let told = format!("goes on with rotation {job}, which is not finished: it covers 1 key, and others");
    assert!(ended.stderr.contains(&told), "{}", ended.stderr);
    assert_eq!(ended.json()["changed"], 1);
}
