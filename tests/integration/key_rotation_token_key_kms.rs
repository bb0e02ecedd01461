//! KMS is away, throttles, or has a key disabled, while the token key is rotated.

use std::time::Duration;

use serde_json::json;

use crate::support::{Finished, KmsFault, World};

const TOKEN: &str = r#""purpose":"token""#;
const DATA: &str = r#""purpose":"data""#;
const AWAY: [(&str, &str); 1] = [("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1")];

/// A vault of six data keys and 240 rows, and KMS, which can be told to fail.
async fn vault() -> (World, KmsFault) {
    let world = World::vault().await;
    world.ingest(6, 40);
    let fault = KmsFault::before(world.kms_port()).await;
    (world, fault)
}

/// A back-fill with one row done that was told to stop.
async fn begin(world: &World) {
    let run = world.start_token_key(&["run", "--reason", "x", "--batch", "1", "--rate", "5/s", "--workers", "1"]);
    world.wait_for_filled(1).await;
    run.signal("TERM");
    assert_eq!(run.finish().done().json()["ended"], "stopped");
}

impl World {
    async fn wait_for_filled(&self, rows: i64) {
        for _ in 0..3_000 {
            if self.slot_b_rows().await >= rows {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{rows} rows were not filled");
    }

    /// No row passes for broken, and what was done is not undone.
    async fn assert_goes_on(&self, failed: &Finished) {
        assert!(failed.stderr.contains("run it again to go on"), "{}", failed.stderr);
        assert_eq!(self.count("pii_vault.rotation_failures").await, 0, "{}", failed.stderr);
        assert_eq!(self.token_job().await["step"], "work");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_rotation_begins_without_a_key_and_where_the_key_comes_back_it_does() {
    let (world, fault) = vault().await;
    let env = [("AWS_ENDPOINT_URL_KMS", fault.url.as_str())];
    let run = ["run", "--reason", "x", "--patience", "1s"];
    let away = world.start_token_key_with(&run, &AWAY).finish().exits(1);
    assert!(away.stderr.contains("nothing has begun") && away.stderr.contains("no answer"), "{}", away.stderr);
    for code in ["ThrottlingException", "DisabledException", "AccessDeniedException"] {
        fault.set_of(TOKEN, code);
        let failed = world.start_token_key_with(&run, &env).finish().exits(1);
        assert!(failed.stderr.contains("nothing has begun") && failed.stderr.contains(code), "{}", failed.stderr);
        let waited = failed.stderr.contains("trying again");
        assert_eq!(waited, code != "AccessDeniedException", "a right does not come by itself: {}", failed.stderr);
        assert_eq!(world.count("pii_vault.rotation_jobs").await, 0, "{code}");
    }
    fault.set_of(TOKEN, "KMSInvalidStateException");
    let mut run = world.start_token_key_with(&["run", "--reason", "x"], &env);
    run.wait_for_log("trying again");
    fault.set(None);
    assert_eq!(run.finish().done().json()["ended"], "filled");
    world.assert_both_slots_are_right().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_key_that_is_off_is_named_and_waited_for() {
    let (world, fault) = vault().await;
    begin(&world).await;
    let env = [("AWS_ENDPOINT_URL_KMS", fault.url.as_str())];
    let sql = "SELECT kms_key, id::text FROM pii_vault.token_keys WHERE slot = 'a'";
    let key = world.sql.query_one(sql, &[]).await.unwrap();
    for code in ["DisabledException", "KMSInvalidStateException", "ThrottlingException"] {
        fault.set_of(TOKEN, code);
        let failed = world.start_token_key_with(&["run", "--patience", "1s"], &env).finish().exits(1);
        assert!(failed.stderr.contains("trying again"), "{}", failed.stderr);
        if code != "ThrottlingException" {
            let said = format!(
                "KMS key {}, which wraps token key {}, is disabled",
                key.get::<_, &str>(0),
                key.get::<_, &str>(1)
            );
            assert!(failed.stderr.contains(&said), "{}", failed.stderr);
        }
        world.assert_goes_on(&failed).await;
    }
    // Told to stop meanwhile it stops, and does not fail.
    let mut run = world.start_token_key_with(&["run"], &env);
    run.wait_for_log("trying again");
    run.signal("TERM");
    assert_eq!(run.finish().done().json()["ended"], "stopped");

    fault.set_of(TOKEN, "DisabledException");
    let mut run = world.start_token_key_with(&["run"], &env);
    run.wait_for_log("trying again");
    fault.set(None);
    let report = run.finish().done().json();
    assert_eq!([&report["ended"], &report["changed"], &report["failed"]], [&json!("filled"), &json!(240), &json!(0)]);
    world.assert_both_slots_are_right().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn amid_back_fill_data_keys_that_are_off_are_waited_for_and_no_row_passes_for_broken() {
    let (world, fault) = vault().await;
    begin(&world).await;
    let env = [("AWS_ENDPOINT_URL_KMS", fault.url.as_str())];
    for code in ["ThrottlingException", "DisabledException", "KMSInvalidStateException", "KeyUnavailableException"] {
        fault.set_of(DATA, code);
        let failed = world.start_token_key_with(&["run", "--patience", "1s"], &env).finish().exits(1);
        world.assert_goes_on(&failed).await;
    }
    let away = world.start_token_key_with(&["run", "--patience", "1s"], &AWAY).finish().exits(1);
    assert!(away.stderr.contains("kms:Decrypt"), "{}", away.stderr);
    world.assert_goes_on(&away).await;

    // Rows come day by day and id by id, hence of all keys in turn; one key after the other is asked for.
    fault.set(None);
    let slow = ["run", "--batch", "1", "--rate", "40/s", "--workers", "1"];
    let run = world.start_token_key_with(&slow, &env);
    world.wait_for_filled(2).await;
    let answered = fault.answered();
    for code in ["ThrottlingException", "DisabledException", "KMSInvalidStateException", "ThrottlingException"] {
        fault.set(Some(code));
        tokio::time::sleep(Duration::from_millis(600)).await;
        fault.set(None);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(fault.answered() > answered, "keys were asked for meanwhile");
    let report = run.finish().done().json();
    assert_eq!([&report["ended"], &report["changed"], &report["failed"]], [&json!("filled"), &json!(240), &json!(0)]);
    world.assert_both_slots_are_right().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_waits_for_keys_of_both_kinds_and_finds_nothing_wrong_meanwhile() {
    let (world, fault) = vault().await;
    assert_eq!(world.token_key(&["run", "--reason", "x"]).done().json()["ended"], "filled");
    let env = [("AWS_ENDPOINT_URL_KMS", fault.url.as_str())];
    for (purpose, code, said) in [
        (TOKEN, "DisabledException", "which wraps token key"),
        (DATA, "DisabledException", "which wraps data key"),
        (TOKEN, "KMSInvalidStateException", "is disabled or about to be deleted"),
        (DATA, "ThrottlingException", "ThrottlingException"),
    ] {
        fault.set_of(purpose, code);
        let failed = world.start_token_key_with(&["verify", "--patience", "1s"], &env).finish().exits(1);
        assert!(failed.stderr.contains("it is not known whether") && failed.stderr.contains(said), "{}", failed.stderr);
        let mut verify = world.start_token_key_with(&["verify"], &env);
        verify.wait_for_log("trying again");
        fault.set(None);
        let found = verify.finish().done().json();
        assert_eq!([&found["verified"], &found["sampled"], &found["wrong"]], [&json!(true), &json!(100), &json!([])]);
    }
    let away = world.start_token_key_with(&["verify", "--patience", "1s"], &AWAY).finish().exits(1);
    assert!(away.stderr.contains("no answer"), "{}", away.stderr);
}
