//! KMS or PostgreSQL is away, throttles or refuses while data keys are rotated; keys go out of use under a run.

use std::time::Duration;

use serde_json::json;

use crate::support::{KmsFault, Who, World, ended};

const ALL: [&str; 9] = ["run", "--max-age", "0", "--reason", "a test", "--batch", "20", "--workers", "1"];

#[tokio::test(flavor = "multi_thread")]
async fn while_kms_throttles_or_has_a_key_disabled_it_waits_and_no_row_passes_for_broken() {
    let world = World::vault().await;
    world.ingest(6, 40);
    let before = world.events_as_text().await;
    let fault = KmsFault::before(world.kms_port()).await;
    let env = [("AWS_ENDPOINT_URL_KMS", fault.url.as_str())];
    for code in ["ThrottlingException", "DisabledException", "KMSInvalidStateException", "KeyUnavailableException"] {
        fault.set(Some(code));
        let args = [&ALL[..], &["--patience", "1s"]].concat();
        let failed = world.start_data_key_with(&args, &env).finish().exits(1);
        assert!(failed.stderr.contains("run it again to go on"), "{code}: {}", failed.stderr);
        assert_eq!(world.count("pii_vault.rotation_failures").await, 0, "{code}");
        assert_eq!(world.count("pii_vault.rotation_jobs WHERE paused AND changed = 0").await, 1, "{code}");
    }
    // In the middle: the first page is done, the keys of others are not to be had for a while.
    fault.set(None);
    let mut run = world.start_data_key_with(&[&ALL[..], &["--rate", "60/s"]].concat(), &env);
    run.wait_for_log("new sealing key");
    let disabled = async |code: &'static str| {
        fault.set(Some(code));
        let so_far = fault.answered();
        tokio::time::sleep(Duration::from_millis(600)).await;
        fault.set(None);
        fault.answered() - so_far
    };
    let mut failed = 0;
    for code in ["ThrottlingException", "DisabledException", "ThrottlingException", "KMSInvalidStateException"] {
        failed += disabled(code).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(failed > 0, "KMS was asked meanwhile");
    let report = run.finish().done().json();
    assert_eq!(ended(&report), ("done", 240, 0), "{report}");
    assert_eq!(world.events_as_text().await, before);
}

/// In KMS itself, of the KMS key of the old data keys alone: the new one is made.
#[tokio::test(flavor = "multi_thread")]
async fn a_kms_key_that_is_off_holds_it_up_and_one_that_is_gone_does_not() {
    let world = World::vault().await;
    world.ingest(2, 30);
    let (new, old) = (world.only_kms_key("data_keys").await, world.another_kms_key().await);
    world.kek(&["run", "--purpose", "data", "--to", &old, "--reason", "so that theirs is another"]).finish().done();
    assert_eq!(world.only_kms_key("data_keys").await, old);
    world.set_kms_key_enabled(&old, false).await;
    let off = world.data_key(&[&ALL[..], &["--patience", "1s"]].concat()).exits(1);
    assert!(off.stderr.contains(&format!("{old}, which wraps data key ")), "{}", off.stderr);
    assert!(off.stderr.contains("is disabled") && off.stderr.contains("run it again to go on"), "{}", off.stderr);
    assert_eq!(world.count("pii_vault.rotation_failures").await, 0, "no row passes for broken");
    assert_eq!(world.rows_under_old_keys().await, 60);
    let made = format!("pii_vault.data_keys WHERE state = 'active' AND kms_key = '{new}'");
    assert_eq!(world.count(&made).await, 1, "the new key's is not off");
    let mut run = world.start_data_key(&["run", "--patience", "60s"]);
    run.wait_for_log("trying again");
    world.set_kms_key_enabled(&old, true).await;
    assert_eq!(ended(&run.finish().done().json()), ("done", 60, 0));

    world.ingest_more("another", 30);
    let gone = "UPDATE pii_vault.data_keys SET kms_key = 'arn:aws:kms:us-east-1:123456789012:key/'||gen_random_uuid() \
                WHERE id = (SELECT id FROM pii_vault.data_keys ORDER BY created_at DESC LIMIT 1)";
    assert_eq!(world.sql.execute(gone, &[]).await.unwrap(), 1);
    let report = world.data_key(&[&ALL[..], &["--patience", "2s"]].concat()).exits(4).json();
    assert_eq!(ended(&report), ("done", 60, 30), "{report}");
    assert_eq!(world.count("pii_vault.rotation_failures WHERE why = 'key_does_not_unwrap'").await, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_kms_or_postgresql_is_away_it_waits_and_goes_on() {
    let world = World::vault().await;
    world.ingest(3, 100);
    let before = world.events_as_text().await;
    let away = [("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1")];
    let failed = world.start_data_key_with(&[&ALL[..], &["--patience", "1s"]].concat(), &away).finish().exits(1);
    assert!(failed.stderr.contains("kms:GenerateDataKey"), "{}", failed.stderr);
    let run = world.start_data_key(&[&ALL[..], &["--rate", "100/s"]].concat());
    world.wait_for_resealed(20).await;
    let reseal = format!("reseal_{}", world.id);
    let terminate = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{reseal}'");
    for _ in 0..10 {
        world.sql.batch_execute(&terminate).await.unwrap();
        tokio::time::sleep(Duration::from_millis(70)).await;
    }
    world.sql.batch_execute(&format!("ALTER ROLE {reseal} NOLOGIN")).await.unwrap();
    world.sql.batch_execute(&terminate).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.sql.batch_execute(&format!("ALTER ROLE {reseal} LOGIN")).await.unwrap();
    let report = run.finish().done().json();
    assert_eq!(ended(&report), ("done", 300, 0), "{report}");
    assert_eq!(world.events_as_text().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_that_goes_out_of_use_is_replaced() {
    let world = World::vault().await;
    world.ingest(1, 300);
    let before = world.events_as_text().await;
    let run = world.start_data_key(&[&ALL[..], &["--rate", "200/s", "--patience", "30s"]].concat());
    world.wait_for_resealed(20).await;
    // Such as by somebody who found that it leaked.
    assert_eq!(
        world
            .sql
            .execute("UPDATE pii_vault.data_keys SET state = 'decrypt-only' WHERE state = 'active'", &[])
            .await
            .unwrap(),
        1
    );
    let finished = run.finish().done();
    assert_eq!(ended(&finished.json()), ("done", 300, 0), "{}", finished.stderr);
    assert!(finished.stderr.contains("the new data key went out of use"), "{}", finished.stderr);
    assert_eq!(world.count("(SELECT DISTINCT data_key_id FROM pii_vault.login_events) AS keys").await, 2);
    assert_eq!(world.events_as_text().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_another_holds_are_waited_for() {
    let world = World::vault().await;
    world.ingest(1, 60);
    let holder = world.superuser().await;
    holder.batch_execute("BEGIN; UPDATE pii_vault.login_events SET locale = locale WHERE event_id IN (SELECT event_id FROM pii_vault.login_events LIMIT 3)").await.unwrap();
    let mut run = world.start_data_key(&ALL);
    // Five seconds, and once more.
    run.wait_for_log("another transaction was in the way");
    holder.batch_execute("COMMIT").await.unwrap();
    assert_eq!(ended(&run.finish().done().json()), ("done", 60, 0));
    world.pii_vault(Who::Auditor, &["audit", "verify"]).finish().done();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_waits_for_kms_keys_that_are_off_and_no_row_passes_for_broken() {
    let world = World::vault().await;
    world.ingest(1, 40);
    assert_eq!(ended(&world.data_key(&ALL).done().json()), ("done", 40, 0));
    let fault = KmsFault::before(world.kms_port()).await;
    let env = [("AWS_ENDPOINT_URL_KMS", fault.url.as_str())];
    for (purpose, said) in
        [(r#""purpose":"data""#, "which wraps data key"), (r#""purpose":"token""#, "which wraps token key")]
    {
        fault.set_of(purpose, "DisabledException");
        let failed = world.start_data_key_with(&["verify", "--patience", "1s"], &env).finish().exits(1);
        assert!(failed.stderr.contains(said) && failed.stderr.contains("is disabled"), "{}", failed.stderr);
        let mut verify = world.start_data_key_with(&["verify"], &env);
        verify.wait_for_log("trying again");
        fault.set(None);
        let report = verify.finish().done().json();
        assert_eq!((&report["opened"], &report["wrong"]), (&json!(40), &json!([])));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_in_an_outage_it_stops_and_does_not_fail() {
    let world = World::vault().await;
    world.ingest(1, 40);
    let away = [("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1")];
    let mut run = world.start_data_key_with(&ALL, &away);
    run.wait_for_log("trying again");
    run.signal("TERM");
    assert_eq!(ended(&run.finish().done().json()), ("stopped", 0, 0));
    assert_eq!(ended(&world.data_key(&["run"]).done().json()), ("done", 40, 0));
}
