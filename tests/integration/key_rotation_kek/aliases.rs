//! An alias that is moved to another KMS key while ingestion runs.

use std::time::Duration;

use crate::support::{Who, World, login};

#[tokio::test(flavor = "multi_thread")]
async fn new_keys_come_under_the_new_kms_key_and_old_rows_open_throughout() {
    let world = World::vault().await;
    let old = world.sql.query_one("SELECT kms_key FROM pii_vault.token_keys", &[]).await.unwrap().get::<_, String>(0);
    // A data key for some 500 events.
    let run = ["etl", "run", "--wait", "1s", "--data-key-values", "1000", "--batch-size", "100"];
    let ingestion = world.pii_vault(Who::Ingest, &run);
    world.send_logins(700).await;
    world.wait_for_rows("true", 700).await;
    let (data, token) = (world.another_kms_key().await, world.another_kms_key().await);
    world.move_alias("data", &data).await;
    world.move_alias("token", &token).await;
    world.send((700..2_000).map(|number| login(number).to_string())).await;
    let jobs = [("data", &data), ("token", &token)].map(|(purpose, new)| {
        world.kek(&["run", "--purpose", purpose, "--to", new, "--reason", "x"]).finish().done().json()
    });
    assert!(jobs.iter().all(|job| job["ended"] == "done"), "{jobs:?}");
    world.wait_for_rows("true", 2_000).await;
    ingestion.signal("TERM");
    ingestion.finish().done();

    assert!(world.count("pii_vault.data_keys").await >= 3, "keys were made before and after");
    assert_eq!(world.only_kms_key("data_keys").await, data, "none is left, also of those that came meanwhile");
    assert_eq!(world.only_kms_key("token_keys").await, token);
    assert_eq!(world.opened_events().await.len(), 2_000);
    let kinds = "(SELECT DISTINCT token_key_a, token_key_b FROM pii_vault.login_events) AS kinds";
    assert_eq!(world.count(kinds).await, 1, "the token key is the same");
    world.kek(&["verify", "--purpose", "data"]).finish().done();
    // And out of use.
    world.kek(&["retire", "--purpose", "token", "--kms-key", &old, "--reason", "x"]).finish().done();
    tokio::time::sleep(Duration::from_millis(1)).await;
    world.send_logins(10).await;
    world.drain(&[]);
    assert_eq!(world.count("pii_vault.login_events").await, 2_010);
}
