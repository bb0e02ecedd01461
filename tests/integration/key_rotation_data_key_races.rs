//! Runners that die, runners that meet, and others who change and delete the same rows.

use std::time::Duration;

use crate::support::{Chance, Others, World, ended, soak};

const ALL: [&str; 5] = ["run", "--max-age", "0", "--reason", "a test"];

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_loses_nothing_and_ends() {
    let (rows, kills, rate) = if soak() { (100_000, 100, "4000/s") } else { (2_000, 3, "1500/s") };
    let world = World::vault().await;
    world.ingest(4, rows / 4);
    let before = world.events_as_text().await;
    let mut chance = Chance::new();
    for kill in 0..kills {
        let args = [&ALL[..], &["--batch", "40", "--rate", rate, "--workers", "3"]].concat();
        let mut run = world.start_data_key(&args);
        // Amid its pages mostly, and now and then before its first one.
        if chance.below(4) > 0 {
            world.wait_for_resealed(i64::try_from(rows * (kill + 1) / (kills + 2)).unwrap()).await;
        }
        tokio::time::sleep(Duration::from_millis(chance.below(200) as u64)).await;
        run.kill();
        assert_eq!(world.count("pii_vault.login_events").await, i64::try_from(rows).unwrap(), "kill {kill}");
        let twice = "(SELECT FROM pii_vault.login_events GROUP BY create_date, event_id HAVING count(*) > 1) AS twice";
        assert_eq!(world.count(twice).await, 0);
    }
    assert_eq!(world.count("pii_vault.rotation_jobs").await, 1, "one job, however often it was started");
    let report = world.data_key(&[&["run"][..], &["--batch", "500"]].concat()).done().json();
    assert_eq!(ended(&report), ("done", rows.try_into().unwrap(), 0), "each row was changed once: {report}");
    assert_eq!(world.rows_under_old_keys().await, 0);
    assert_eq!(world.events_as_text().await, before);
    world.data_key(&["verify"]).done();
    assert_eq!(world.count("pii_vault.rotation_runners").await, 0, "those that were killed are forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn runners_share_the_rows_and_nobody_undoes_what_others_did() {
    let world = World::vault().await;
    world.ingest(3, 1_000);
    // Meanwhile an administrator changes rows wherever they are, one after the other, and deletes some.
    let others = Others::begin(&world).await;
    let before = world.opened_events().await;
    let args = [&ALL[..], &["--batch", "30", "--workers", "3", "--rate", "1000/s"]].concat();
    let first = world.start_data_key(&args);
    world.wait_for_resealed(60).await;
    let second = world.start_data_key(&args);
    let reports = [first, second].map(|run| run.finish().done().json());
    for report in &reports {
        assert_eq!((ended(report).0, ended(report).2), ("done", 0), "{report}");
    }
    let left = others.assert_none_lost(&world).await;
    let deleted = before.len() - left;
    assert!(deleted > 0);
    let after = world.opened_events().await;
    assert_eq!(after.len(), left);
    for (id, event) in &after {
        let was = &before[id];
        assert_eq!([&event.ip, &event.device_id, &event.ip_token], [&was.ip, &was.device_id, &was.ip_token], "{id}");
    }
    assert_eq!(world.rows_under_old_keys().await, 0);
    assert_eq!(world.count("pii_vault.rotation_jobs").await, 1);
    let both = "(SELECT DISTINCT data_key_id FROM pii_vault.login_events) AS keys";
    assert_eq!(world.count(both).await, 2, "both runners sealed, each under its own key");
    // Of rows that came and went, nothing is counted twice.
    let changed = "pii_vault.rotation_jobs WHERE changed <= 3000 AND changed >= 3000 - ";
    assert_eq!(world.count(&format!("{changed}{deleted}")).await, 1);
}
