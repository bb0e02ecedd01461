//! How a run ends before its queue does: told to, or killed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::support::{Who, World, assert_adds_up, login, soak};

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_finishes_what_is_in_flight() {
    let world = World::vault().await;
    let count = 1_000;
    world.send((0..count).map(|number| login(number).to_string())).await;
    let mut run = world.pii_vault(Who::Ingest, &["etl", "run", "--batch-size", "20", "--output", "json"]);
    run.wait_for_log("new sealing key");
    run.signal("TERM");
    let summary = run.finish().done().json();
    assert_adds_up(&summary);
    assert_eq!(summary["stored"], summary["deleted"], "what was received was stored and deleted");
    assert_eq!(world.count("pii_vault.login_events").await.to_string(), summary["stored"].to_string());

    let rest = world.drain(&["--visibility-timeout", "30s"]);
    let hidden = world.queue_depth().await.1;
    assert_eq!(summary["stored"].as_u64().unwrap() + rest["stored"].as_u64().unwrap() + hidden, count as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_run_stops_at_once() {
    let world = World::vault().await;
    for signal in ["TERM", "INT"] {
        let run = world.pii_vault_with(Who::Ingest, &["etl", "run"], &[]);
        tokio::time::sleep(Duration::from_millis(700)).await;
        let told = Instant::now();
        run.signal(signal);
        let finished = run.finish().done();
        assert!(told.elapsed() < Duration::from_secs(10), "a long poll of 20 s must not hold it up");
        assert!(finished.stdout.contains("received          0"), "{}", finished.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once_and_loses_nothing() {
    let world = World::vault().await;
    world.send((0..50).map(|number| login(number).to_string())).await;
    // A batch that cannot be written: something holds the table.
    world.sql.batch_execute("BEGIN; LOCK TABLE pii_vault.login_events IN ACCESS EXCLUSIVE MODE").await.unwrap();
    // Short polls: the endpoint lets a poll live on whose client is gone, and it would take the messages when they
    // come back.
    let mut run = world.pii_vault(Who::Ingest, &["etl", "run", "--visibility-timeout", "3s", "--wait", "1s"]);
    run.wait_for_log("new sealing key");
    run.signal("TERM");
    run.wait_for_log("finishing what is in flight");
    run.signal("TERM");
    assert_eq!(run.finish().code(), Some(128 + 15));
    world.sql.batch_execute("ROLLBACK").await.unwrap();

    tokio::time::sleep(Duration::from_secs(3)).await;
    world.drain(&["--wait", "2s"]);
    assert_eq!(world.count("pii_vault.login_events").await, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_longer_than_the_grace_stays_in_the_queue() {
    let world = World::vault().await;
    world.send([login(1).to_string()]).await;
    world.sql.batch_execute("BEGIN; LOCK TABLE pii_vault.login_events IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let mut run = world.pii_vault(Who::Ingest, &["etl", "run", "--visibility-timeout", "60s"]);
    run.wait_for_log("new sealing key");
    let told = Instant::now();
    run.signal("TERM");
    let finished = run.finish().exits(1);
    assert!((24..29).contains(&told.elapsed().as_secs()), "{:?}", told.elapsed());
    assert!(finished.stderr.contains("still in the queue"), "{}", finished.stderr);
    assert_eq!(world.queue_depth().await, (0, 1));
    world.sql.batch_execute("ROLLBACK").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_anywhere_every_message_is_stored_exactly_once() {
    let world = World::vault().await;
    let (count, deaths) = if soak() { (20_000, 100) } else { (600, 6) };
    let bodies = (0..count).map(|number| if number % 20 == 0 { "{".to_owned() } else { login(number).to_string() });
    let ids = world.send(bodies).await;
    for death in 0..deaths {
        let mut run = world.start_drain(&["--batch-size", "30", "--visibility-timeout", "1s"]);
        // From before the first receive to well into the storing; primes, so that the moments differ.
        tokio::time::sleep(Duration::from_millis(60 + death * 37 % 400)).await;
        run.kill();
    }
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    world.drain(&["--wait", "2s"]);
    assert_eq!(world.queue_depth().await, (0, 0));
    let events: BTreeSet<_> = world.opened_events().await.into_keys().collect();
    let letters: BTreeSet<_> = world.opened_dead_letters().await.into_keys().collect();
    assert!(events.is_disjoint(&letters));
    assert_eq!(events.union(&letters).copied().collect::<BTreeSet<_>>(), ids.into_iter().collect());
}
