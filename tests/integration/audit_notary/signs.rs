use std::time::{Duration, Instant};

use pii_vault::crypto::checkpoint::SignedCheckpoint;

use super::scene::Scene;
use crate::support::Who;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_is_signed_with_copies_in_each_sink() {
    let scene = Scene::new().await;
    let notary = scene.notary(&["--gap", "0ms"], &[]);
    scene.wait_until_signed(1).await;
    let mut waits = Vec::new();
    for _ in 0..10 {
        let (begun, seq) = (Instant::now(), scene.append().await);
        while scene.world.count(&format!("pii_vault.checkpoints WHERE seq >= {seq}")).await == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        waits.push(begun.elapsed());
    }
    waits.sort();
    // Told, not asserted: this machine may be busy.
    println!("append to checkpoint: median {:?}, longest {:?}", waits[waits.len() / 2], waits[waits.len() - 1]);
    notary.signal("TERM");
    let report = scene.wait_for_end(notary).await.done().json();
    let stored = scene.one_chain_everywhere().await;
    assert_eq!((stored.len(), &report["signed"], &report["seq"]), (11, &11.into(), &11.into()), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_entries_take_few_signatures() {
    let scene = Scene::new().await;
    let notary = scene.notary(&[], &[]);
    scene.wait_until_signed(1).await;
    let begun = Instant::now();
    // Each in a transaction of its own.
    scene
        .world
        .sql
        .batch_execute(
            "CREATE PROCEDURE pg_temp.appends() LANGUAGE plpgsql AS $$ BEGIN
                 FOR i IN 1..1000 LOOP PERFORM pii_vault.record_init(1, false); COMMIT; END LOOP;
             END $$",
        )
        .await
        .unwrap();
    scene.world.sql.batch_execute("CALL pg_temp.appends()").await.unwrap();
    let took = begun.elapsed();
    scene.wait_until_signed(1001).await;
    notary.signal("TERM");
    scene.wait_for_end(notary).await.done();
    let stored = scene.one_chain_everywhere().await;
    println!("1000 entries in {took:?}: {} checkpoints", stored.len());
    // The first, one at once, one for each half second, and the last.
    let most = 4 + begun.elapsed().as_millis() / 500;
    assert!(u128::try_from(stored.len()).unwrap() <= most, "{} checkpoints", stored.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_notaries_at_once_leave_one_chain() {
    let scene = Scene::new().await;
    let notaries = [(); 2].map(|()| scene.notary(&["--gap", "0ms"], &[]));
    for _ in 0..60 {
        scene.append().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    scene.wait_until_signed(61).await;
    let mut signed = 0;
    for notary in notaries {
        notary.signal("TERM");
        signed += scene.wait_for_end(notary).await.done().json()["signed"].as_u64().unwrap();
    }
    let stored = scene.one_chain_everywhere().await;
    assert_eq!(u64::try_from(stored.len()).unwrap(), signed);
    assert!(signed > 2, "{signed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn anybody_may_send_the_word_and_nothing_comes_of_it() {
    let scene = Scene::new().await;
    let notary = scene.notary(&["--gap", "0ms"], &[]);
    scene.wait_until_signed(1).await;
    scene.world.make_login(Who::Nobody).await;
    let nobody = scene.world.connect(Who::Nobody).await;
    for _ in 0..500 {
        nobody.batch_execute("NOTIFY pii_vault_audit, 'x'").await.unwrap();
    }
    scene.append().await;
    scene.wait_until_signed(2).await;
    notary.signal("TERM");
    scene.wait_for_end(notary).await.done();
    assert_eq!(scene.one_chain_everywhere().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_listens_or_signs_may_lose_its_connection() {
    let scene = Scene::new().await;
    let notary = scene.notary(&["--gap", "0ms"], &[]);
    scene.wait_until_signed(1).await;
    for condition in ["query LIKE 'LISTEN%'", "query NOT LIKE 'LISTEN%'", "true"] {
        let login = format!("notary_{}", scene.world.id);
        let ended = format!(
            "(SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
              WHERE usename = '{login}' AND {condition}) AS ended"
        );
        assert!(scene.world.count(&ended).await > 0, "{condition}");
        let seq = scene.append().await;
        scene.wait_until_signed(seq).await;
        // Until both are there again.
        for _ in 0..200 {
            if scene.world.count(&format!("pg_stat_activity WHERE usename = '{login}'")).await == 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    notary.signal("TERM");
    scene.wait_for_end(notary).await.done();
    assert_eq!(scene.one_chain_everywhere().await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn once_is_enough_for_a_scheduler() {
    let scene = Scene::new().await;
    let once = |args: &[&str]| {
        let args = [&["audit", "checkpoint", "--output", "json"], args].concat();
        scene.world.pii_vault(Who::Notary, &args).finish().done()
    };
    let first = once(&["--sink", scene.folder()]).json();
    assert_eq!((&first["signed"], &first["seq"]), (&1.into(), &1.into()), "{first}");
    let second = once(&["--sink", scene.folder()]).json();
    assert_eq!((&second["signed"], &second["seq"]), (&0.into(), &1.into()), "{second}");
    scene.append().await;
    // A line for a log collector, and no word else.
    let line = once(&["--sink", "-"]).stdout;
    let stored = scene.one_chain().await;
    assert_eq!(SignedCheckpoint::from_copy(line.as_bytes()).as_ref(), Ok(&stored[1]));
    assert_eq!(once(&["--sink", "-"]).stdout, "");
}

/// The default of a first policy, and of no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_asks_for_checkpoints_where_a_notary_has_been_at_work() {
    for notary_first in [false, true] {
        let scene = Scene::new().await;
        if notary_first {
            scene.world.pii_vault(Who::Notary, &["audit", "checkpoint"]).finish().done();
        }
        let set = "SELECT pii_vault.set_policy(NULL, NULL, NULL, NULL, NULL, NULL)";
        scene.world.sql.execute(set, &[]).await.unwrap();
        scene.world.pii_vault(Who::Notary, &["audit", "checkpoint"]).finish().done();
        scene.world.sql.execute(set, &[]).await.unwrap();
        let required = scene.world.count("pii_vault.access_policy WHERE checkpoints = 'required'").await;
        assert_eq!(required, if notary_first { 2 } else { 0 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_tells_when_the_log_is_not_signed_as_it_grows() {
    let scene = Scene::new().await;
    let found = || {
        let findings = scene.world.pii_vault(Who::Administrator, &["doctor", "--output", "json"]).finish().json();
        let found = findings.as_array().unwrap().iter().find(|finding| finding["check"] == "checkpoints").unwrap();
        (found["status"].as_str().unwrap().to_owned(), found["detail"].as_str().unwrap().to_owned())
    };
    let assert_found = |status, detail| {
        let found = found();
        assert!(found.0 == status && found.1.contains(detail), "{found:?}");
    };
    assert_found("ok", "has not run yet");
    scene.world.pii_vault(Who::Notary, &["audit", "checkpoint"]).finish().done();
    assert_found("ok", "policy does not wait");
    scene.append().await;
    assert_found("ok", "signed up to entry 1");
    scene.tamper("UPDATE pii_vault.audit_log SET at = at - interval '2 minutes' WHERE seq = 2").await;
    assert_found("warn", "1 entries of the audit log are not signed");
    scene.tamper("DELETE FROM pii_vault.checkpoints").await;
    scene
        .world
        .sql
        .batch_execute("SELECT pii_vault.set_policy(NULL, NULL, NULL, NULL, 'required', NULL)")
        .await
        .unwrap();
    assert_found("fail", "there is none");
}
