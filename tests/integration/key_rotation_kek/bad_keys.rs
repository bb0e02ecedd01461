//! Keys that KMS does not unwrap.

use serde_json::json;

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_were_altered_or_moved_are_listed_and_all_others_are_done() {
    let world = World::vault().await;
    world.send(["{"]).await;
    world.drain(&[]);
    world.add_data_keys(12).await;
    let ids: Vec<uuid::Uuid> = world
        .sql
        .query("SELECT id FROM pii_vault.data_keys ORDER BY created_at", &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let set = |index: usize, set: &str| format!("UPDATE pii_vault.data_keys SET {set} WHERE id = '{}'", ids[index]);
    let of = |table: &str| format!("SELECT wrapped_key, kms_key FROM pii_vault.{table} LIMIT 1");
    for sql in [
        set(0, "wrapped_key = set_byte(wrapped_key, 70, get_byte(wrapped_key, 70) # 1)"),
        set(1, &format!("wrapped_key = (SELECT wrapped_key FROM pii_vault.data_keys WHERE id = '{}')", ids[5])),
        // Keys of other purposes, which unwrap under their own context alone.
        set(2, &format!("(wrapped_key, kms_key) = ({})", of("token_keys"))),
        set(3, &format!("(wrapped_key, kms_key) = ({})", of("dead_letter_keys"))),
    ] {
        assert_eq!(world.sql.execute(&sql, &[]).await.unwrap(), 1, "{sql}");
    }
    let new = world.another_kms_key().await;
    let run = ["run", "--purpose", "data", "--to", &new, "--reason", "x"];
    let ended = world.kek(&run).finish().exits(4).json();
    let counts = [&ended["ended"], &ended["total"], &ended["changed"], &ended["failed"]];
    assert_eq!(counts, [&json!("done"), &json!(12), &json!(8), &json!(4)]);
    let failures = world
        .sql
        .query(
            "SELECT f.id, f.why::text, f.key_id, f.day = (k.created_at AT TIME ZONE 'UTC')::date \
             FROM pii_vault.rotation_failures AS f JOIN pii_vault.data_keys AS k USING (id) ORDER BY k.created_at",
            &[],
        )
        .await
        .unwrap();
    let failures: Vec<(uuid::Uuid, String, uuid::Uuid, bool)> =
        failures.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
    let expected = |index: usize| (ids[index], "key_does_not_unwrap".to_owned(), ids[index], true);
    assert_eq!(failures, [expected(0), expected(1), expected(2), expected(3)]);

    let verify = world.kek(&["verify", "--purpose", "data", "--to", &new]).finish().exits(4).json();
    assert_eq!((&verify["left"], &verify["unwrapped"]), (&json!(4), &json!(8)));
    assert_eq!(verify["failed"].as_array().unwrap().len(), 4, "{verify}");
    // A later rotation tries them again; what was mended goes with it.
    world
        .sql
        .execute(&set(0, "wrapped_key = set_byte(wrapped_key, 70, get_byte(wrapped_key, 70) # 1)"), &[])
        .await
        .unwrap();
    let ended = world.kek(&run).finish().exits(4).json();
    assert_eq!([&ended["total"], &ended["changed"], &ended["failed"]], [&json!(4), &json!(1), &json!(3)]);

    // Of a purpose of which nothing unwraps, nothing is begun.
    let sql = "UPDATE pii_vault.token_keys SET wrapped_key = set_byte(wrapped_key, 70, get_byte(wrapped_key, 70) # 1)";
    world.sql.execute(sql, &[]).await.unwrap();
    let jobs = world.count("pii_vault.rotation_jobs").await;
    let run = ["run", "--purpose", "token", "--to", &world.another_kms_key().await, "--reason", "x"];
    let ended = world.kek(&run).finish().exits(4);
    assert!(ended.stderr.contains("unwraps none of 1 keys"), "{}", ended.stderr);
    assert_eq!(world.count("pii_vault.rotation_jobs").await, jobs);
}
