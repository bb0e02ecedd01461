//! Killed between any two steps: the next one goes on, and there is one chain.

use std::time::Duration;

use pii_vault::crypto::checkpoint::SignedCheckpoint;

use super::scene::Scene;
use crate::support::{Hold, Way};

const SLEEPS: &str = "CREATE FUNCTION public.sleep_a_bit() RETURNS trigger LANGUAGE plpgsql AS \
                      $$ BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$";

#[tokio::test(flavor = "multi_thread")]
async fn while_kms_or_s3_is_asked_or_answers() {
    let scene = Scene::new().await;
    let upstream = scene.world.kms_url();
    let port = upstream.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap();
    for (variable, way) in [
        ("AWS_ENDPOINT_URL_KMS", Way::NoRequest),
        ("AWS_ENDPOINT_URL_KMS", Way::NoAnswer),
        ("AWS_ENDPOINT_URL_S3", Way::NoRequest),
        ("AWS_ENDPOINT_URL_S3", Way::NoAnswer),
    ] {
        let hold = Hold::before(port, Way::Open).await;
        let url = format!("http://127.0.0.1:{}", hold.port);
        let mut notary = scene.notary(&["--gap", "0ms"], &[(variable, &url)]);
        let seq = scene.append().await;
        scene.wait_until_signed(seq).await;
        hold.set(way);
        let seq = scene.append().await;
        hold.holds().await;
        notary.kill();
        assert!(scene.stored().await.iter().all(|signed| signed.checkpoint.seq < seq), "{variable} {way:?}");
        goes_on(&scene, seq).await;
    }
}

/// The copies are out, and the row is not.
#[tokio::test(flavor = "multi_thread")]
async fn before_the_row_is_stored_or_committed() {
    let scene = Scene::new().await;
    scene.world.sql.batch_execute(SLEEPS).await.unwrap();
    for (trigger, drop) in [
        (
            "TRIGGER slow AFTER INSERT ON pii_vault.checkpoints FOR EACH STATEMENT",
            "DROP TRIGGER slow ON pii_vault.checkpoints",
        ),
        (
            "CONSTRAINT TRIGGER slow AFTER INSERT ON pii_vault.checkpoints DEFERRABLE INITIALLY DEFERRED FOR EACH ROW",
            "DROP TRIGGER slow ON pii_vault.checkpoints",
        ),
    ] {
        scene
            .world
            .sql
            .batch_execute(&format!("CREATE {trigger} EXECUTE FUNCTION public.sleep_a_bit()"))
            .await
            .unwrap();
        let mut notary = scene.notary(&["--gap", "0ms"], &[]);
        let seq = scene.append().await;
        let copies = scene.files().len();
        for _ in 0..600 {
            let sleeping = "pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
            if scene.world.count(sleeping).await > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        notary.kill();
        assert!(scene.files().len() >= copies.max(1));
        scene.world.sql.batch_execute(drop).await.unwrap();
        goes_on(&scene, seq).await;
    }
}

async fn goes_on(scene: &Scene, seq: i64) {
    let next = scene.notary(&["--gap", "0ms"], &[]);
    scene.wait_until_signed(seq).await;
    let after = scene.append().await;
    scene.wait_until_signed(after).await;
    next.signal("TERM");
    scene.wait_for_end(next).await.done();
    scene.one_chain_everywhere().await;
}

/// Another notary signed, wrote its copies, and was killed: this one, which runs all the while, goes on from those.
#[tokio::test(flavor = "multi_thread")]
async fn another_while_this_one_runs() {
    let scene = Scene::new().await;
    scene.world.sql.batch_execute(SLEEPS).await.unwrap();
    let running = scene.notary(&["--gap", "0ms"], &[]);
    let seq = scene.append().await;
    scene.wait_until_signed(seq).await;
    running.signal("STOP");
    let slow = "CREATE TRIGGER slow AFTER INSERT ON pii_vault.checkpoints FOR EACH STATEMENT \
                EXECUTE FUNCTION public.sleep_a_bit()";
    scene.world.sql.batch_execute(slow).await.unwrap();
    let mut other = scene.notary(&["--gap", "0ms"], &[]);
    let signed = scene.append().await;
    while scene.files().keys().last().is_none_or(|name| SignedCheckpoint::seq_of(name) < Some(signed)) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    while scene.objects().await.len() < scene.files().len() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    other.kill();
    let after = scene.append().await;
    scene.world.sql.batch_execute("DROP TRIGGER slow ON pii_vault.checkpoints").await.unwrap();
    running.signal("CONT");
    scene.wait_until_signed(after).await;
    running.signal("TERM");
    scene.wait_for_end(running).await.done();
    let stored = scene.one_chain_everywhere().await;
    assert!(stored.iter().any(|stored| stored.checkpoint.seq == signed), "{signed} was not taken over");
}
