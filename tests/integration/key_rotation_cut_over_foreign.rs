//! Rows whose slots somebody filled by hand, with tokens that are said to be of whatever key: no step is stuck on them.

use serde_json::json;
use uuid::Uuid;

use crate::support::World;

/// Says of one row that its tokens are of another key.
async fn tamper(world: &World, slot: &str, key: &str, which: i64) {
    let sql = format!(
        "UPDATE pii_vault.login_events SET token_key_{slot} = {key}
         WHERE event_id = (SELECT event_id FROM pii_vault.login_events ORDER BY event_id OFFSET {which} LIMIT 1)"
    );
    assert_eq!(world.sql.execute(&sql, &[]).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_names_a_foreign_key_is_accepted_emptied_and_in_no_later_rotations_way() {
    let world = World::vault().await;
    world.import(30);
    tamper(&world, "a", "gen_random_uuid()", 3).await;
    assert_eq!(world.token_key(&["run", "--reason", "one"]).exits(4).json()["failed"], 1);
    assert_eq!(world.administer(&["cut-over"]).finish().exits(4).json()["refused"], "token_mismatch");
    let found = world.token_key(&["verify"]).done().json();
    assert_eq!((&found["mismatched"], &found["of_other_keys"]), (&json!(1), &json!(0)));
    world.administer(&["cut-over", "--accept-mismatches"]).finish().done();
    // Only now, so that nothing has listed it; and of the key that is in use, in the other slot.
    tamper(&world, "a", "token_key_b", 7).await;
    world.administer(&["finish"]).finish().done();
    assert_eq!((world.slot_a_rows().await, world.slot_b_rows().await), (0, 30));
    world.token_key(&["verify"]).done();

    world.token_key(&["run", "--reason", "two"]).done();
    tamper(&world, "a", "gen_random_uuid()", 5).await;
    let both = ["cut-over", "--accept-mismatches", "--accept-unopened"];
    assert_eq!(world.administer(&both).finish().exits(4).json()["refused"], "keys_differ");
    let found = world.token_key(&["verify"]).exits(4).json();
    assert_eq!((&found["of_other_keys"], &found["differences"][0]["why"]), (&json!(1), &json!("other_key")));
    world.administer(&["rollback", "--reason", "a row was changed"]).finish().done();
    assert_eq!((world.slot_a_rows().await, world.slot_b_rows().await), (0, 30));
    world.token_key(&["verify"]).done();

    world.token_key(&["run", "--reason", "three"]).done();
    world
        .sql
        .batch_execute(
            "UPDATE pii_vault.login_events SET ip_token_b = NULL, device_id_token_b = NULL, token_key_b = NULL
             WHERE event_id = (SELECT event_id FROM pii_vault.login_events ORDER BY event_id LIMIT 1)",
        )
        .await
        .unwrap();
    assert_eq!(world.administer(&["cut-over"]).finish().exits(4).json()["refused"], "token_mismatch");
    assert_eq!(world.administer(&["cut-over", "--accept-mismatches"]).finish().done().json()["mismatched"], 1);
    world.administer(&["finish"]).finish().done();
    world.token_key(&["verify"]).done();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_finished_rotation_left_is_told_with_a_way_out() {
    let world = World::vault().await;
    world.import(3);
    world.sql.batch_execute(
        "UPDATE pii_vault.login_events SET ip_token_b = ip_token_a, device_id_token_b = ip_token_a, token_key_b = token_key_a",
    ).await.unwrap();
    let refused = world.token_key(&["run", "--reason", "one"]).exits(3).json();
    assert_eq!(refused["refused"], "slot_in_use");
    let next = refused["next"].as_str().unwrap();
    assert!(next.contains("pii_vault_owner") && !next.contains("finish"), "{next}");
}

/// A page that waits for a row while its rotation ends and the next one fills that row.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_page_leaves_the_tokens_of_the_next_rotation_alone() {
    let world = World::vault().await;
    world.fill_other_slot_raw(20).await;
    world.administer(&["cut-over"]).finish().done();
    let job: Uuid = world.sql.query_one("SELECT id FROM pii_vault.rotation_jobs", &[]).await.unwrap().get(0);
    let change = format!("SELECT pii_vault.finish_rotation('{job}', NULL)::text");
    assert_eq!(world.sql.query_one(&change, &[]).await.unwrap().get::<_, String>(0), "done");
    world.sql.execute("SELECT pii_vault.arm_rotation($1, $1)", &[&job]).await.unwrap();

    let (page, next) = (world.superuser().await, world.superuser().await);
    let empty = "UPDATE pii_vault.login_events SET ip_token_a = NULL, device_id_token_a = NULL, token_key_a = NULL";
    next.batch_execute(&format!("BEGIN; {empty}")).await.unwrap();
    let pid: i32 = page.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let emptied = tokio::spawn(async move {
        let sql = "SELECT pii_vault.empty_slot($1, $1, NULL, NULL, '2999-12-31', $1)";
        page.query_one(sql, &[&job]).await.unwrap().get::<_, i64>(0)
    });
    let waits = "SELECT FROM pg_locks WHERE pid = $1 AND NOT granted";
    while world.sql.query(waits, &[&pid]).await.unwrap().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    world
        .sql
        .batch_execute(
            "UPDATE pii_vault.rotation_jobs SET step = 'done', ended_at = clock_timestamp();
             INSERT INTO pii_vault.token_keys (id, slot, state, wrapped_key, kms_key, commitment)
             SELECT gen_random_uuid(), 'a', 'pending', wrapped_key, kms_key, commitment FROM pii_vault.token_keys LIMIT 1",
        )
        .await
        .unwrap();
    next.batch_execute(
        "UPDATE pii_vault.login_events SET ip_token_a = ip_token_b, device_id_token_a = device_id_token_b,
             token_key_a = (SELECT id FROM pii_vault.token_keys WHERE state = 'pending');
         COMMIT",
    )
    .await
    .unwrap();
    assert_eq!(emptied.await.unwrap(), 0);
    assert_eq!(world.slot_a_rows().await, 20);
}
