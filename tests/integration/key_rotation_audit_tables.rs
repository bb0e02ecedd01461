//! What rotations leave in tables beside their jobs: `audit verify` names what was added, removed or changed by others.

use crate::support::{Who, World, lay_hands_on, put_back};

/// The word of each finding.
fn verify(world: &World) -> Vec<String> {
    let report = world.pii_vault(Who::Auditor, &["audit", "verify", "--output", "json"]).finish().json();
    let findings = report["findings"].as_array().unwrap().iter();
    findings.map(|found| found["word"].as_str().unwrap().to_owned()).collect()
}

/// A vault with a sample of either kind of rotation, a map of tokens, rows that were set aside, and KMS keys that retired.
async fn rotated() -> World {
    let world = World::vault().await;
    world.ingest(2, 20);
    world
        .sql
        .batch_execute(
            "UPDATE pii_vault.login_events SET user_id = 'another' WHERE event_id IN (
                 SELECT event_id FROM pii_vault.login_events ORDER BY event_id LIMIT 3)",
        )
        .await
        .unwrap();
    let report = world.data_key(&["run", "--max-age", "0", "--reason", "x"]).exits(4).json();
    world.data_key(&["verify", "--sample", "5"]).exits(4);
    let aside = ["key-rotation", "data-key", "set-aside", "--reason", "x", "--job", report["job"].as_str().unwrap()];
    world.pii_vault(Who::Administrator, &aside).finish().done();
    world.token_key(&["run", "--reason", "x"]).done();
    world.token_key(&["verify", "--sample", "5"]).done();
    world.token_key(&["token-map", "--reason", "x"]).done();
    let (old, new) = (world.only_kms_key("data_keys").await, world.another_kms_key().await);
    let kek = |args: &[&str]| world.kek(&[args, &["--purpose", "data", "--reason", "x"]].concat()).finish().done();
    kek(&["run", "--to", &new]);
    kek(&["retire", "--kms-key", &old]);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_added_removed_or_changed_is_named() {
    let world = rotated().await;
    assert_eq!(verify(&world), [""; 0]);
    lay_hands_on(&world).await;
    let mut unseen = Vec::new();
    for (name, sql, found) in [
        (
            "a sample is removed",
            "DELETE FROM pii_vault.rotation_handouts WHERE kind = 'sample'",
            "rotation_handouts_gone",
        ),
        (
            "a map is removed",
            "DELETE FROM pii_vault.rotation_handouts WHERE kind = 'token_map'",
            "rotation_handouts_gone",
        ),
        (
            "one row more in a sample",
            "UPDATE pii_vault.rotation_handouts SET days = days || date '2026-03-31', ids = ids || gen_random_uuid()
             WHERE kind = 'sample'",
            "rotation_handouts_differs",
        ),
        (
            "another row in a sample",
            "UPDATE pii_vault.rotation_handouts SET ids[1] = gen_random_uuid() WHERE kind = 'sample'",
            "rotation_handouts_differs",
        ),
        ("of another login", "UPDATE pii_vault.rotation_handouts SET actor = 'x'", "rotation_handouts_differs"),
        (
            "fresh for longer",
            "UPDATE pii_vault.rotation_handouts SET recorded_at = recorded_at + interval '1 hour'",
            "rotation_handouts_differs",
        ),
        (
            "of another job",
            "UPDATE pii_vault.rotation_handouts SET job = gen_random_uuid()",
            "rotation_handouts_differs",
        ),
        (
            "a map that nobody recorded",
            "INSERT INTO pii_vault.rotation_handouts (id, kind, job, seq, recorded_at)
             SELECT gen_random_uuid(), 'token_map', id, 999, now() FROM pii_vault.rotation_jobs LIMIT 1",
            "rotation_handouts_not_logged",
        ),
        ("a KMS key may wrap again", "DELETE FROM pii_vault.retired_kms_keys", "retired_kms_keys_gone"),
        (
            "another one retired",
            "UPDATE pii_vault.retired_kms_keys SET kms_key = 'arn:aws:kms:x'",
            "retired_kms_keys_differs",
        ),
        ("for another purpose", "UPDATE pii_vault.retired_kms_keys SET purpose = 'token'", "retired_kms_keys_differs"),
        (
            "one that nobody retired",
            "INSERT INTO pii_vault.retired_kms_keys VALUES ('data', 'arn:aws:kms:x', now(), 999)",
            "retired_kms_keys_not_logged",
        ),
        (
            "a row that was set aside is removed",
            "DELETE FROM pii_vault.set_aside_events WHERE event_id = (SELECT min(event_id::text)::uuid FROM pii_vault.set_aside_events)",
            "set_aside_events_differs",
        ),
        ("all of them are", "DELETE FROM pii_vault.set_aside_events", "set_aside_events_gone"),
        (
            "one stands for another",
            "UPDATE pii_vault.set_aside_events SET event_id = gen_random_uuid()
             WHERE event_id = (SELECT min(event_id::text)::uuid FROM pii_vault.set_aside_events)",
            "set_aside_events_differs",
        ),
        (
            "one that was never set aside",
            "INSERT INTO pii_vault.set_aside_events SELECT e.*, j.id, 'not_authentic', now()
             FROM pii_vault.login_events AS e, pii_vault.rotation_jobs AS j WHERE j.kind = 'data-key' LIMIT 1",
            "set_aside_events_not_logged",
        ),
    ] {
        world.sql.batch_execute(sql).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let words = verify(&world);
        if words != [found] {
            unseen.push(format!("{name}: {words:?}"));
        }
        put_back(&world).await;
    }
    assert_eq!(unseen, [""; 0]);
    assert_eq!(verify(&world), [""; 0]);
}
