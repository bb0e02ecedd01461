//! `doctor` finds what is wrong with keys and their rotations, each thing provoked once.

use crate::doctor::{assert_found, doctor, lone_vault};

const OLD_KEY: &str = "(id, wrapped_key, kms_key, commitment, max_step, created_at, state)
    SELECT gen_random_uuid(), repeat('x', 33)::bytea, 'k', repeat('x', 32)::bytea, 1, now() - interval '91 days'";

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_rotations_that_wait_for_somebody_are_found() {
    let world = lone_vault().await;
    world.send_logins(3).await;
    world.drain(&[]);
    let letter_key = format!("INSERT INTO pii_vault.dead_letter_keys {OLD_KEY}, 'active'");
    let idle = format!("INSERT INTO pii_vault.data_keys {OLD_KEY}, 'decrypt-only'");
    let job = "INSERT INTO pii_vault.rotation_jobs (kind, purpose, seq, recorded_at, reason, old_keys, total, worked_at)
        VALUES ('data-key', 'data', 7, now() - interval '9 days', 'old', ARRAY[gen_random_uuid()], 1, now() - interval '3 hours')";
    let filled = "UPDATE pii_vault.rotation_jobs SET kind = 'token-key', purpose = 'token', old_slot = 'a',
        new_key = gen_random_uuid(), step = 'filled', paused = false, worked_at = now() - interval '8 days'";
    let runner = "INSERT INTO pii_vault.rotation_runners (job, runner, seen_at)
        SELECT id, gen_random_uuid(), now() - interval '59 minutes' FROM pii_vault.rotation_jobs";
    for (sql, check, status, detail) in [
        ("", "idle-keys", "ok", "no key"),
        (&letter_key, "sealing-keys", "warn", "1 of 1 dead-letter keys are over 90 days"),
        (&idle, "sealing-keys", "warn", "1 of 2 data keys and 1 of 1 dead-letter keys"),
        ("", "idle-keys", "warn", "no row names them: 1 data keys"),
        ("UPDATE pii_vault.data_keys SET state = 'retired' WHERE state = 'decrypt-only'", "idle-keys", "ok", "no key"),
        ("UPDATE pii_vault.data_keys SET state = 'decrypt-only' WHERE state = 'active'", "idle-keys", "ok", "no key"),
        ("", "rotations", "ok", "no rotation of keys is under way"),
        (job, "rotations", "warn", "has had no runner for 3 h and is not paused"),
        (runner, "rotations", "ok", "1 under way or paused"),
        ("DELETE FROM pii_vault.rotation_runners", "rotations", "warn", "data-key rotation"),
        ("UPDATE pii_vault.rotation_jobs SET paused = true", "rotations", "ok", "1 under way or paused"),
        (filled, "rotations", "warn", "has been filled for 8 days and is not cut over"),
        ("UPDATE pii_vault.rotation_jobs SET worked_at = now() - interval '6 days'", "rotations", "ok", "1 under way"),
        ("", "announcements", "ok", "0.0 % of the queue"),
    ] {
        world.sql.batch_execute(sql).await.unwrap();
        assert_found(&doctor(&world).exits(0), check, status, detail);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_login_rotates_and_reads() {
    let world = lone_vault().await;
    let id = &world.id;
    let sql = format!(
        "CREATE ROLE resealer_{id} LOGIN; GRANT pii_vault_reseal, pii_vault_analyst TO resealer_{id};
         CREATE ROLE rewrapper_{id} LOGIN; GRANT pii_vault_rewrap, pii_vault_unmask TO rewrapper_{id};
         CREATE ROLE rotator_{id} LOGIN; GRANT pii_vault_reseal, pii_vault_rewrap TO rotator_{id};
         GRANT CONNECT ON DATABASE test_{id} TO resealer_{id}, rewrapper_{id}, rotator_{id}"
    );
    world.sql.batch_execute(&sql).await.unwrap();
    let found = doctor(&world).exits(1);
    let both = format!("resealer_{id} holds pii_vault_reseal and pii_vault_analyst");
    assert_found(&found, "ingest-and-read", "fail", &both);
    let both = format!("rewrapper_{id} holds pii_vault_rewrap and pii_vault_unmask");
    assert_found(&found, "rewrap-and-read", "warn", &both);
    assert!(!found.stdout.contains("rotator"), "{}", found.stdout);
}
