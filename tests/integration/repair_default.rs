//! `retention --repair-default`: rows of the default partition get partitions, and nobody misses or doubles one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Running, Who, World, add_raw_events, soak};

fn repair(world: &World, args: &[&str]) -> Running {
    let all = ["retention", "--repair-default", "--output", "json"];
    world.pii_vault(Who::Administrator, &[&all, args].concat())
}

async fn world_with(rows: &[(&str, usize)]) -> World {
    let world = World::vault().await;
    world.allow_raw_events().await;
    for (day, count) in rows {
        world.add_raw_events(day, *count).await;
    }
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn each_month_gets_its_partition_and_a_second_run_finds_nothing() {
    let rows = [("2019-12-31", 3), ("2020-01-01", 5), ("2020-02-29", 1), ("2007-07-07", 2), ("12000-01-01", 1)];
    let world = world_with(&rows).await;
    let plan = repair(&world, &["--dry-run"]).finish().done().json();
    assert_eq!(plan["dry_run"], true);
    assert_eq!(plan["repaired"][3], json!({"month": "2020-02", "rows": 1, "how": "to_do"}));
    assert_eq!(world.rows_by_partition().await, "default: 12");

    let done = repair(&world, &[]).finish().done().json();
    let how: Vec<_> = done["repaired"].as_array().unwrap().iter().map(|month| month["how"].as_str().unwrap()).collect();
    assert_eq!(how, ["moved", "moved", "in_place", "moved"]);
    let repaired = "2007_07: 2, 2019_12: 3, 2020_01: 5, 2020_02: 1, default: 1";
    assert_eq!(world.rows_by_partition().await, repaired, "what has no month that can be written stays");
    assert_eq!(world.odd_partitions().await, [""; 0]);

    assert_eq!(repair(&world, &[]).finish().done().json()["repaired"], Value::Array(vec![]));
    let human = world.pii_vault(Who::Administrator, &["retention", "--repair-default"]).finish().done();
    assert_eq!(human.stdout, "no month has rows in the default partition\n");

    // And it works again where the default partition is a later one.
    world.add_raw_events("2018-01-01", 4).await;
    repair(&world, &[]).finish().done();
    assert_eq!(world.rows_by_partition().await, repaired.replace("2019_12", "2018_01: 4, 2019_12"));
    assert_eq!(world.odd_partitions().await, [""; 0]);
}

/// Two readers and two writers of the months under repair, all the time.
#[tokio::test(flavor = "multi_thread")]
async fn readers_see_each_row_once_and_writers_lose_none() {
    let rounds = if soak() { 40 } else { 4 };
    for round in 0..rounds {
        let world = world_with(&[("2016-05-31", 2_000), ("2016-06-01", 1_000)]).await;
        let stop = Arc::new(AtomicBool::new(false));
        let mut sessions = tokio::task::JoinSet::new();
        let queries = [
            "SELECT count(*) FROM user_logins WHERE create_date IN ('2016-05-31', '2016-06-01')",
            "SELECT count(*) FROM user_logins WHERE create_date = '2016-05-31' OR date_part('day', create_date) = 1",
            "SELECT count(*) + 2000 FROM user_logins WHERE create_date = '2016-06-01'",
        ];
        for sql in queries {
            let (session, stop) = (world.connect(Who::Analyst).await, stop.clone());
            sessions.spawn(async move {
                let prepared = session.prepare(sql).await.unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let seen: i64 = session.query_one(&prepared, &[]).await.unwrap().get(0);
                    assert_eq!(seen, 3_000, "{sql}");
                    let simple = session.simple_query(sql).await.unwrap();
                    let seen = simple.iter().find_map(|message| match message {
                        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
                        _ => None,
                    });
                    assert_eq!(seen.as_deref(), Some("3000"), "{sql}");
                }
                0
            });
        }
        for day in ["2016-05-30", "2016-06-02"] {
            let (session, stop) = (world.connect(Who::Ingest).await, stop.clone());
            sessions.spawn(async move {
                let mut added = 0;
                while !stop.load(Ordering::Relaxed) {
                    add_raw_events(&session, day, 10).await;
                    added += 10;
                }
                added
            });
        }
        tokio::time::sleep(Duration::from_millis(150 + 50 * round)).await;
        let done = repair(&world, &["--patience", "60s"]).finish().done().json();
        assert_eq!(done["repaired"].as_array().unwrap().len(), 2);
        tokio::time::sleep(Duration::from_millis(200)).await;
        stop.store(true, Ordering::Relaxed);
        let mut added = 0;
        while let Some(session) = sessions.join_next().await {
            added += session.unwrap();
        }
        assert_eq!(world.count("pii_vault.login_events").await, 3_000 + added);
        assert_eq!(world.count("pii_vault.login_events_default").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_snapshot_sees_all_of_a_month_that_is_repaired_in_place() {
    let world = world_with(&[("2016-05-31", 30)]).await;
    let analyst = world.connect(Who::Analyst).await;
    analyst.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class").await.unwrap();
    repair(&world, &[]).finish().done();
    let sql = "SELECT count(*) FROM user_logins WHERE create_date = '2016-05-31'";
    assert_eq!(analyst.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_not_moved_under_an_older_snapshot() {
    let world = world_with(&[("2016-05-31", 30), ("2016-06-01", 20)]).await;
    let analyst = world.connect(Who::Analyst).await;
    analyst.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class").await.unwrap();
    let refused = repair(&world, &["--patience", "1s"]).finish().exits(1);
    assert!(refused.stderr.contains("held snapshots"), "{}", refused.stderr);
    assert_eq!(world.rows_by_partition().await, "default: 50");
    analyst.batch_execute("COMMIT").await.unwrap();
    repair(&world, &[]).finish().done();
    assert_eq!(world.rows_by_partition().await, "2016_05: 30, 2016_06: 20");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_reader_is_waited_for_and_not_for_ever() {
    let world = world_with(&[("2016-05-31", 30)]).await;
    let analyst = world.connect(Who::Analyst).await;
    analyst.batch_execute("BEGIN; SELECT count(*) FROM user_logins").await.unwrap();
    let refused = repair(&world, &["--patience", "1s"]).finish().exits(1);
    assert!(refused.stderr.contains("pii-vault doctor"), "{}", refused.stderr);
    let waiting = repair(&world, &["--patience", "60s"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    analyst.batch_execute("COMMIT").await.unwrap();
    waiting.finish().done();
    assert_eq!(world.rows_by_partition().await, "2016_05: 30");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_anywhere_it_has_done_all_or_nothing() {
    let world = world_with(&[("2016-05-31", 3_000), ("2016-06-01", 3_000)]).await;
    let rounds = if soak() { 60 } else { 6 };
    for round in 0..rounds {
        let mut run = repair(&world, &[]);
        tokio::time::sleep(Duration::from_millis(10 + 300 * round / rounds)).await;
        run.kill();
        // The server may be at it still; the reader waits, or does not.
        assert_eq!(world.count("public.user_logins").await, 6_000);
    }
    repair(&world, &[]).finish().done();
    assert_eq!(world.rows_by_partition().await, "2016_05: 3000, 2016_06: 3000");
    assert_eq!(world.odd_partitions().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_the_owner_repairs() {
    let world = world_with(&[("2016-05-31", 1)]).await;
    let refused = world.pii_vault(Who::Ingest, &["retention", "--repair-default"]).finish().exits(1);
    assert!(refused.stderr.contains("GRANT pii_vault_owner TO"), "{}", refused.stderr);
    for who in [Who::Ingest, Who::Redrive] {
        let session = world.connect(who).await;
        for function in ["repair_default", "months_in_default"] {
            let sql = format!("SELECT pii_vault.{function}()");
            assert_eq!(crate::support::sqlstate(&session, &sql).await.as_deref(), Some("42501"), "{sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_name_holds_up_its_own_month_alone_and_is_told() {
    let world = world_with(&[("2007-07-07", 2), ("2008-08-08", 3)]).await;
    world.sql.batch_execute("CREATE TABLE pii_vault.login_events_2007_07 ()").await.unwrap();
    let partly = repair(&world, &[]).finish().exits(1).json();
    let left = json!({"month": "2007-07", "rows": 2, "how": "name_taken"});
    assert_eq!(partly["repaired"], json!([left, {"month": "2008-08", "rows": 3, "how": "in_place"}]));
    assert_eq!(repair(&world, &[]).finish().exits(1).json()["repaired"], json!([left]));
    world.sql.batch_execute("DROP TABLE pii_vault.login_events_2007_07").await.unwrap();
    repair(&world, &[]).finish().done();
    assert_eq!(world.rows_by_partition().await, "2007_07: 2, 2008_08: 3");
}
