//! Runners that die, runners that meet, and others who change and delete the same rows, or all of a month.

use std::time::Duration;

use crate::support::{Chance, Others, World, soak};

const RUN: [&str; 3] = ["run", "--reason", "yearly"];
const SLOWLY: [&str; 4] = ["--batch", "20", "--rate", "300/s"];

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_ends_with_every_row_filled_and_no_update_of_others_lost() {
    let world = World::vault().await;
    let (rows, kills) = if soak() { (100_000, 100) } else { (3_000, 6) };
    world.import(rows);
    let batch = (rows / 500).to_string();
    let rate = if soak() { "4000/s" } else { "1500/s" };
    let mut chance = Chance::new();
    let changed = async || -> i64 {
        let sql = "SELECT coalesce(max(changed), 0)::bigint FROM pii_vault.rotation_jobs";
        world.sql.query_one(sql, &[]).await.unwrap().get(0)
    };
    world
        .sql
        .batch_execute("CREATE TABLE public.over (); UPDATE pii_vault.login_events SET app_version = '0'")
        .await
        .unwrap();
    // Others change the same rows all the time, and delete some.
    let other = world.superuser().await;
    let others = tokio::spawn(async move {
        let mut round = 0;
        loop {
            // In the order that all keep to: others would wait for each other in a ring.
            let sql = "WITH mine AS MATERIALIZED (SELECT create_date, event_id FROM pii_vault.login_events \
                       WHERE get_byte(uuid_send(event_id), 5) % 8 = $1 ORDER BY create_date, event_id FOR UPDATE) \
                       UPDATE pii_vault.login_events AS e SET app_version = e.app_version::integer + 1 FROM mine AS m \
                       WHERE (e.create_date, e.event_id) = (m.create_date, m.event_id)";
            other.execute(sql, &[&(round % 8)]).await.unwrap();
            let gone = "DELETE FROM pii_vault.login_events WHERE event_id = (SELECT min(event_id::text)::uuid \
                        FROM pii_vault.login_events)";
            other.execute(gone, &[]).await.unwrap();
            if round >= 15 && other.query("SELECT FROM public.over", &[]).await.unwrap().len() == 1 {
                return round;
            }
            round += 1;
        }
    });
    for kill in 0..kills {
        let goal = i64::try_from(rows * (kill + 1) / (kills + 2)).unwrap();
        let mut run = world.start_token_key(&[&RUN[..], &["--batch", &batch, "--rate", rate]].concat());
        // Amid its pages mostly, and now and then before its first one.
        while chance.below(200) > 0 && changed().await < goal {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(chance.below(50).try_into().unwrap())).await;
        run.kill();
        let half = "pii_vault.login_events WHERE num_nulls(ip_token_b, device_id_token_b, token_key_b) NOT IN (0, 3)";
        assert_eq!(world.count(half).await, 0);
        assert_eq!(world.rotation_step().await, "work", "kill {kill} struck amid the work");
    }
    let two = [world.start_token_key(&RUN), world.start_token_key(&RUN)];
    for run in two {
        assert_eq!(run.finish().done().json()["ended"], "filled");
    }
    world.sql.batch_execute("INSERT INTO public.over DEFAULT VALUES").await.unwrap();
    let last = others.await.unwrap();
    for class in 0..8 {
        // As often as its turn came: no update of it was lost.
        let times = (last - class) / 8 + 1;
        let lost = format!(
            "pii_vault.login_events WHERE get_byte(uuid_send(event_id), 5) % 8 = {class} AND app_version <> '{times}'"
        );
        assert_eq!(world.count(&lost).await, 0, "class {class} of {last} rounds");
    }
    assert_eq!(world.count("pii_vault.rotation_jobs").await, 1);
    assert_eq!(world.count("pii_vault.rotation_failures").await, 0);
    assert_eq!(world.count("pii_vault.login_events WHERE token_key_b IS NULL").await, 0);
    world.assert_both_slots_are_right().await;
    world.token_key(&["verify"]).done();
}

/// As retention does it.
async fn drop_month(world: &World, month: &str) {
    let sql = format!("SET lock_timeout = '2s'; DROP TABLE pii_vault.login_events_{month}; RESET lock_timeout");
    for _ in 0..10 {
        if world.sql.batch_execute(&sql).await.is_ok() {
            return;
        }
    }
    panic!("the month stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_months_go_while_two_runners_fill_and_two_empty() {
    let world = World::vault().await;
    for day in ["2025-01-05", "2025-02-05", "2025-03-05"] {
        world.import_of(day, 700);
    }
    let others = Others::begin(&world).await;
    let first = world.start_token_key(&[&RUN[..], &SLOWLY].concat());
    let done = async |rows: i64| {
        while world.count(&format!("pii_vault.rotation_jobs WHERE changed >= {rows}")).await == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    done(1).await;
    let second = world.start_token_key(&[&["run"][..], &SLOWLY].concat());
    done(200).await;
    drop_month(&world, "2025_02").await;
    for run in [first, second] {
        assert_eq!(run.finish().done().json()["ended"], "filled");
    }
    assert_eq!(world.count("pii_vault.login_events WHERE token_key_b IS NULL").await, 0);
    world.token_key(&["verify"]).done();
    world.administer(&["cut-over"]).finish().done();

    let finish = || world.administer(&[&["finish"][..], &SLOWLY].concat());
    let first = finish();
    while world.rotation_step().await != "emptying" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let second = finish();
    done(200).await;
    drop_month(&world, "2025_01").await;
    for run in [first, second] {
        assert_eq!(run.finish().done().json()["ended"], "finished");
    }
    others.assert_none_lost(&world).await;
    assert_eq!(world.slot_a_rows().await, 0);
    assert_eq!(world.rotation_step().await, "done");
    world.assert_shown(&world.events_of_logins().await).await;
    world.administer(&["retire", "--reason", "rotated"]).finish().done();
}
