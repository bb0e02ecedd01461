//! What is not begun.

use serde_json::{Value, json};

use crate::support::{Who, World, sqlstate};

fn refused(world: &World, args: &[&str]) -> Value {
    let told = world.kek(&[&["run", "--purpose", "data"], args].concat()).finish().exits(3).json();
    assert!(!told["because"].as_str().unwrap().is_empty() && !told["next"].as_str().unwrap().is_empty(), "{told}");
    told["refused"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kms_key_of_another_purpose_or_out_of_use_or_a_second_rotation_is_refused() {
    let world = World::vault().await;
    world.add_data_keys(4).await;
    let (first, second) = (world.another_kms_key().await, world.another_kms_key().await);
    let token = world.only_kms_key("token_keys").await;
    let to = |kms_key| ["--reason", "x", "--to", kms_key];
    assert_eq!(refused(&world, &to(&token)), "kms_key_of_another_purpose");
    assert_eq!(world.count("pii_vault.rotation_jobs").await, 0);
    world.kek(&["run", "--purpose", "data", "--to", &first]).finish().exits(2);
    world.kek(&["run", "--purpose", "data", "--to", &first, "--reason", " "]).finish().exits(2);
    world.kek(&["run", "--purpose", "events", "--to", &first, "--reason", "x"]).finish().exits(2);
    let unknown = world.kek(&["run", "--purpose", "data", "--to", "alias/nobody", "--reason", "x"]).finish().exits(1);
    assert!(
        unknown.stderr.contains("kms:ReEncrypt") && unknown.stderr.contains("does not exist"),
        "{}",
        unknown.stderr
    );

    // Begun, and not finished.
    let rewrap = world.connect(Who::Rewrap).await;
    let begin = "SELECT pii_vault.record_rewrap('data', $1, false, 'x')";
    rewrap.execute(begin, &[&first]).await.unwrap();
    assert_eq!(refused(&world, &to(&second)), "rotation_unfinished");
    assert_eq!(refused(&world, &["--newest-material"]), "rotation_unfinished");
    let ended = world.kek(&["run", "--purpose", "data", "--to", &first]).finish().done().json();
    assert_eq!(ended["changed"], 4, "the same may be named");

    let old = world.sql.query_one("SELECT source_kms_keys[1] FROM pii_vault.rotation_jobs", &[]).await.unwrap();
    let old: String = old.get(0);
    world.kek(&["retire", "--purpose", "data", "--kms-key", &old, "--reason", "x"]).finish().done();
    assert_eq!(refused(&world, &["--reason", "x"]), "kms_key_retired", "the alias still names it");
    assert_eq!(world.count("pii_vault.rotation_jobs").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_protocol_no_wrapped_key_changes() {
    let world = World::vault().await;
    world.add_data_keys(4).await;
    let (new, rewrap) = (world.another_kms_key().await, world.connect(Who::Rewrap).await);
    let begin = format!("SELECT pii_vault.record_rewrap('data', '{new}', false, 'x')");
    let sample = "SELECT key_id, wrapped_key FROM pii_vault.sample_wrapped_keys('data', 1)";
    let sample = rewrap.query_one(sample, &[]).await.unwrap();
    let (id, wrapped): (uuid::Uuid, Vec<u8>) = (sample.get(0), sample.get(1));
    let store = |job: &str, by: &str| {
        let hex: String = wrapped.iter().map(|byte| format!("{byte:02x}")).collect();
        format!(
            "SELECT pii_vault.store_rewrap({job}, '{{{id}}}', '{{\"\\\\x{hex}\"}}', '{{\"\\\\x{}\"}}', '{{{by}}}')",
            "00".repeat(40)
        )
    };
    let job = "(SELECT id FROM pii_vault.rotation_jobs)";
    let fetch = format!("SELECT * FROM pii_vault.fetch_rewrap({job}, NULL, NULL, '2999-01-01', gen_random_uuid())");

    // Not committed yet.
    rewrap.batch_execute("BEGIN").await.unwrap();
    rewrap.batch_execute(&begin).await.unwrap();
    assert_eq!(sqlstate(&rewrap, &store(job, &new)).await.as_deref(), Some("42501"));
    rewrap.batch_execute("ROLLBACK").await.unwrap();
    rewrap.batch_execute(&begin).await.unwrap();
    // Not armed.
    for sql in [&store(job, &new), &fetch] {
        assert_eq!(sqlstate(&rewrap, sql).await.as_deref(), Some("42501"), "{sql}");
    }
    rewrap.batch_execute(&format!("SELECT pii_vault.arm_rotation({job}, gen_random_uuid())")).await.unwrap();
    assert_eq!(rewrap.query(&fetch, &[]).await.unwrap().len(), 4);
    // Another KMS key than the one on record, and another transaction's view of things.
    assert_eq!(sqlstate(&rewrap, &store(job, "arn:other")).await.as_deref(), Some("23514"));
    let repeatable = format!("BEGIN ISOLATION LEVEL REPEATABLE READ; {}", store(job, &new));
    assert_eq!(sqlstate(&rewrap, &repeatable).await.as_deref(), Some("25000"));
    rewrap.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(sqlstate(&rewrap, "UPDATE pii_vault.data_keys SET kms_key = 'x'").await.as_deref(), Some("42501"));
    let changed: i64 = rewrap.query_one(&store(job, &new), &[]).await.unwrap().get(0);
    assert_eq!(changed, 1);
    let changed: i64 = rewrap.query_one(&store(job, &new), &[]).await.unwrap().get(0);
    assert_eq!(changed, 0, "it is not wrapped as it was");
    assert_eq!(json!(world.wrapped_by("data_keys").await.len()), 2);
}
