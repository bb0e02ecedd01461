//! Flags that change nothing of the outcome, only how it comes about.

use serde_json::Value;

use crate::support::{Who, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_data_key_ends_with_its_values_two_for_each_event() {
    let world = World::vault().await;
    world.send_logins(505).await;
    world.drain(&["--data-key-values", "1000", "--data-key-lifetime", "2h"]);
    assert_eq!(world.count("pii_vault.data_keys WHERE max_step = 120").await, 2);
    assert_eq!(world.count("pii_vault.data_keys").await, 2);
    assert_eq!(world.count("(SELECT DISTINCT data_key_id FROM pii_vault.login_events) AS keys").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_no_larger_than_the_batch_size_and_one_call() {
    let world = World::vault().await;
    world.send_logins(100).await;
    let args =
        ["--log-format", "json", "etl", "run", "--drain", "--wait", "1s", "--batch-size", "20", "--linger", "1s"];
    let finished = world.pii_vault_with(Who::Ingest, &args, &[("RUST_LOG", "pii_vault=debug")]).finish().done();
    let events = finished.stderr.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    let sizes: Vec<_> = events
        .filter(|event| event["message"] == "committed")
        .map(|event| event["events"].as_u64().expect("a count"))
        .collect();
    assert_eq!(sizes.iter().sum::<u64>(), 100);
    assert!(sizes.iter().all(|size| *size < 30), "{sizes:?}");
}
