//! Page by page: what is released when something happens on the way.
//!
//! A page is longer than a pipe holds, so a run whose output nobody reads waits in the middle of its first.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Finished, Relay, Running, Who, World, login};

const ALL: [&str; 6] = ["--since", "2000-01-01", "--until", "2999-01-01", "--format", "json"];

async fn with_logins(count: usize) -> World {
    let world = World::vault().await;
    world.set_policy(1_000_000).await;
    let long = |number: usize| {
        let mut login = login(number);
        login["device_id"] = format!("device-{number}-{}", "x".repeat(100)).into();
        login.to_string()
    };
    world.send((0..count).map(long)).await;
    world.drain(&[]);
    world
}

async fn in_first_page(world: &World) {
    for _ in 0..1000 {
        if world.audited("unmask_page").await.len() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no page was settled");
}

async fn finish(run: Running) -> Finished {
    tokio::task::spawn_blocking(|| run.finish()).await.unwrap()
}

fn counts(summary: &Value) -> [u64; 4] {
    ["rows", "opened", "released", "did_not_open"].map(|key| summary[key].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_goes_stale_ends_after_the_page_in_hand() {
    let world = with_logins(1_100).await;
    let run = world.start_unmask(&ALL);
    in_first_page(&world).await;
    let age = "UPDATE pii_vault.receipts SET recorded_at = recorded_at - interval '10 minutes'";
    world.sql.batch_execute(age).await.unwrap();
    let run = finish(run).await.exits(3);
    let (lines, summary) = (run.lines(), run.summary());
    assert_eq!((lines.len(), counts(&summary)), (500, [1100, 500, 500, 0]), "{summary}");
    assert_eq!((&summary["refused"], &summary["last"]["event_id"]), (&json!("stale"), &lines[499]["event_id"]));
    let logged = world.audited("unmask_page").await;
    assert_eq!(logged[1..], [(Some("stale".to_owned()), json!({"first": 501}))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_is_revoked_ends_it_and_people_are_told_what_they_have() {
    let world = with_logins(1_100).await;
    world.set_policy(0).await;
    let grant = world.grant("ip,device_id", "C-1", 5_000).await;
    let args = [&["unmask", "--reason", "a test", "--case", "C-1"], &ALL[..]].concat();
    let run = world.pii_vault(Who::Officer, &args);
    in_first_page(&world).await;
    let approver = world.connect(Who::Approver).await;
    approver.batch_execute(&format!("SELECT pii_vault.revoke_access('{grant}', 'no more')")).await.unwrap();
    let run = finish(run).await.exits(3);
    assert_eq!(run.lines().len(), 500);
    for words in [
        "cut off after 500 of 1100 rows",
        "go on with --since",
        "refused: your grant for this case was revoked",
        &grant.to_string(),
    ] {
        assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
    }
    assert!(!run.stderr.contains("device-"), "{}", run.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_it_after_the_page_in_hand() {
    let world = with_logins(1_100).await;
    let run = world.start_unmask(&ALL);
    in_first_page(&world).await;
    run.signal("TERM");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let run = finish(run).await.exits(1);
    let summary = run.summary();
    assert_eq!((run.lines().len(), counts(&summary), &summary["stopped"]), (500, [1100, 500, 500, 0], &json!(true)));
    assert_eq!(world.audited("unmask_page").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_page_is_written_where_its_outcome_cannot_be_recorded() {
    let world = with_logins(1_100).await;
    let run = world.start_unmask(&ALL);
    in_first_page(&world).await;
    let mut other = world.superuser().await;
    let lock = other.transaction().await.unwrap();
    lock.batch_execute("SELECT FROM pii_vault.audit_head FOR UPDATE").await.unwrap();
    let run = finish(run).await.exits(1);
    assert_eq!((run.lines().len(), counts(&run.summary())), (500, [1100, 500, 500, 0]));
    assert!(run.stderr.contains("500 of 1100 rows were written before"), "{}", run.stderr);
    lock.rollback().await.unwrap();
    assert_eq!(world.audited("unmask_page").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_page_is_written_where_it_is_not_known_whether_its_outcome_is_recorded() {
    let world = with_logins(1_100).await;
    let (host, name) = (format!("127.0.0.1:{}", world.postgres_port()), world.database_url(Who::Officer));
    let relay = Relay::before(world.postgres_port()).await;
    let url = name.replace(&host, &format!("127.0.0.1:{}", relay.port));
    let args = [&["unmask", "--reason", "a test", "--case", "C-1", "--output", "json"], &ALL[..]].concat();
    let run = world.pii_vault_with(Who::Officer, &args, &[("DATABASE_URL", &url)]);
    in_first_page(&world).await;
    let mut other = world.superuser().await;
    let lock = other.transaction().await.unwrap();
    lock.batch_execute("SELECT FROM pii_vault.audit_head FOR UPDATE").await.unwrap();
    let ending = tokio::spawn(finish(run));
    let waiting = "pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%settle_unmask%' AND datname = current_database()";
    while world.count(waiting).await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    relay.mute();
    lock.rollback().await.unwrap();
    while world.audited("unmask_page").await.len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    relay.cut();
    let run = ending.await.unwrap().exits(1);
    assert_eq!((run.lines().len(), counts(&run.summary())), (500, [1100, 500, 500, 0]));
    assert_eq!(world.audited("unmask_page").await[1].1["last"], 1_000, "recorded as opened all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_deleted_since_are_told_and_the_rest_comes() {
    let world = with_logins(1_600).await;
    let run = world.start_unmask(&ALL);
    in_first_page(&world).await;
    // All of the second page, one of the third, and the last of all.
    let gone = "DELETE FROM pii_vault.login_events WHERE event_id IN (SELECT event_id FROM pii_vault.receipt_rows \
                WHERE ordinal BETWEEN 501 AND 1000 OR ordinal IN (1200, 1600))";
    assert_eq!(world.sql.execute(gone, &[]).await.unwrap(), 502);
    let run = finish(run).await.exits(4);
    let summary = run.summary();
    assert_eq!((run.lines().len(), counts(&summary)), (1_098, [1600, 1098, 1098, 502]));
    assert_eq!(
        summary["failed"][500],
        json!({"row": 1200, "create_date": null, "event_id": null, "reason": "deleted"})
    );
    let pages = world.audited("unmask_page").await;
    assert_eq!(
        (&pages[1].1["opened"], &pages[2].1["opened"], &pages[3].1["opened"]),
        (&json!(0), &json!(499), &json!(99))
    );
    assert_eq!(pages[3].1["failed"][0]["why"], "deleted");
}
