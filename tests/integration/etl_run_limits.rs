//! Memory: what is in flight stays within the budget, and every budget makes progress.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Who, World, assert_adds_up, login, soak};

/// A valid login of 1 MiB, as large as SQS takes one.
fn large_login(number: usize) -> String {
    let mut login = login(number);
    login["extra"] = json!("");
    let room = (1 << 20) - login.to_string().len();
    login["extra"] = json!("x".repeat(room));
    login.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_bodies_stay_within_the_budget() {
    let world = World::vault().await;
    let count = if soak() { 600 } else { 60 };
    for number in 0..count {
        let body = if number % 2 == 0 { "x".repeat(1 << 20) } else { large_login(number) };
        world.send([body]).await;
    }
    // With writers that are held up, the queue comes in as far as the budget lets it.
    world.sql.batch_execute("BEGIN; LOCK TABLE pii_vault.dead_letters IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let run = world.start_drain(&["--max-inflight-bytes", "32MiB", "--wait", "5s"]);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let hidden = world.queue_depth().await.1;
    assert!((10..=32).contains(&hidden), "{hidden} MiB of bodies are in flight");
    let peak = run.peak_memory().unwrap();
    world.sql.batch_execute("ROLLBACK").await.unwrap();
    let mut last = peak;
    while let Some(now) = run.peak_memory() {
        last = now;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let summary = run.finish().done().json();
    assert_adds_up(&summary);
    assert_eq!(
        (&summary["stored"], &summary["dead_letters"]),
        (&json!(count / 2), &json!({"invalid_json": count / 2}))
    );
    eprintln!("peak while held up: {} MiB, in all: {} MiB", peak / 1024, last / 1024);
    assert!(last < 300 * 1024, "{last} KiB were resident");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_least_budget_makes_progress_with_any_tuning() {
    let world = World::vault().await;
    for (receivers, writers, batch_size) in [("1", "1", "1"), ("64", "1", "10000"), ("64", "8", "1")] {
        for body in [large_login(1), large_login(2), "{".repeat(1 << 20), login(3).to_string()] {
            world.send([body]).await;
        }
        world.send((0..50).map(|number| login(number).to_string())).await;
        let started = Instant::now();
        let summary = world.drain(&[
            "--max-inflight-bytes",
            "10MiB",
            "--receivers",
            receivers,
            "--writers",
            writers,
            "--batch-size",
            batch_size,
            "--linger",
            "1s",
        ]);
        assert_adds_up(&summary);
        // Receivers that waited for room need no empty poll of their own.
        assert!(started.elapsed() < Duration::from_secs(50), "{:?}", started.elapsed());
        assert_eq!(summary["deleted"], 54, "{receivers} {writers} {batch_size}");
    }
    let refused = world.pii_vault(Who::Ingest, &["etl", "run", "--max-inflight-bytes", "9MiB"]).finish().exits(2);
    assert!(refused.stderr.contains("at least 10485760"), "{}", refused.stderr);
}
