//! `key-rotation token-key` where rows are corrupt, its key goes, or it is told to stop.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use crate::support::{Who, World, sqlstate};

const RUN: [&str; 3] = ["run", "--reason", "yearly"];

async fn failures(world: &World) -> BTreeMap<String, i64> {
    let sql = "SELECT why::text, count(*) FROM pii_vault.rotation_failures GROUP BY why";
    world.sql.query(sql, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn corrupt_rows_are_passed_over_and_tampered_ones_listed_and_all_others_filled() {
    let world = World::vault().await;
    world.import(600);
    let rows = world.sql.query("SELECT event_id FROM pii_vault.login_events ORDER BY event_id", &[]).await.unwrap();
    let ids: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    world
        .sql
        .batch_execute(
            "CREATE TABLE public.whole AS SELECT event_id, ip_ciphertext, device_id_ciphertext, data_key_id \
             FROM pii_vault.login_events",
        )
        .await
        .unwrap();
    let change = async |set: &str, ids: &[Uuid]| {
        let sql = format!("UPDATE pii_vault.login_events SET {set} WHERE event_id = ANY ($1)");
        assert_eq!(world.sql.execute(&sql, &[&ids]).await.unwrap(), u64::try_from(ids.len()).unwrap());
    };
    change("ip_ciphertext = set_byte(ip_ciphertext, 80, get_byte(ip_ciphertext, 80) # 1)", &ids[..3]).await;
    change(
        "device_id_ciphertext = set_byte(device_id_ciphertext, 20, 255 - get_byte(device_id_ciphertext, 20))",
        &ids[3..5],
    )
    .await;
    // What was sealed for another event, under the same key.
    let another = |column: &str| {
        let other = "SELECT o.* FROM pii_vault.login_events AS o ORDER BY o.event_id DESC LIMIT 1";
        format!("({column}, data_key_id) = (SELECT {column}, data_key_id FROM ({other}) AS o)")
    };
    change(&another("ip_ciphertext"), &ids[5..6]).await;
    change(&another("device_id_ciphertext"), &ids[6..7]).await;
    change("ip_ciphertext = set_byte(ip_ciphertext, 0, 9)", &ids[7..9]).await;
    change("data_key_id = gen_random_uuid()", &ids[9..10]).await;
    // Another's tokens: a duplicate that is none, for who looks at the view.
    let other = "(SELECT o.ip_token_a FROM pii_vault.login_events AS o ORDER BY o.event_id DESC LIMIT 1)";
    change(&format!("ip_token_a = {other}"), &ids[10..12]).await;
    change("token_key_a = gen_random_uuid()", &ids[12..13]).await;

    let summary = world.token_key(&RUN).exits(4).json();
    assert_eq!(
        [&summary["ended"], &summary["changed"], &summary["failed"]],
        [&json!("filled"), &json!(590), &json!(13)]
    );
    let listed = [("key_missing", 1), ("not_authentic", 7), ("token_mismatch", 3), ("unknown_version", 2)];
    assert_eq!(failures(&world).await, listed.map(|(why, count)| (why.to_owned(), count)).into());
    assert_eq!(world.count("pii_vault.login_events WHERE token_key_b IS NULL").await, 10);

    let found = world.token_key(&["verify"]).exits(4).json();
    assert_eq!(
        [&found["without_new"], &found["passed_over"], &found["mismatched"], &found["of_other_keys"]],
        [&json!(10), &json!(10), &json!(3), &json!(0)],
        "{found}"
    );
    assert_eq!(found["ips"]["old"], found["ips"]["pairs"]);
    let differs: Vec<_> = found["differences"].as_array().unwrap().iter().map(|row| &row["event_id"]).collect();
    assert!(ids[..10].iter().all(|id| differs.contains(&&json!(id.to_string()))), "{found}");
    // A tampered row's pair does not go out.
    let map = world.token_key(&["token-map", "--reason", "x"]).done().stdout;
    assert_eq!(map.lines().filter(|line| line.starts_with("ip,")).count(), 587);

    world
        .sql
        .batch_execute(
            "UPDATE pii_vault.login_events AS e SET ip_ciphertext = w.ip_ciphertext, data_key_id = w.data_key_id, \
             device_id_ciphertext = w.device_id_ciphertext \
             FROM public.whole AS w WHERE w.event_id = e.event_id;
             UPDATE pii_vault.login_events SET token_key_a = (SELECT id FROM pii_vault.token_keys WHERE slot = 'a')",
        )
        .await
        .unwrap();
    assert_eq!(world.token_key(&["run"]).exits(4).json()["changed"], 590, "not tried by itself");
    let again = world.token_key(&["run", "--retry"]).exits(4).json();
    assert_eq!([&again["changed"], &again["failed"]], [&json!(600), &json!(3)]);
    let retried = world.log("key_rotation").await.into_iter().find(|entry| entry["details"]["step"] == "retry");
    assert_eq!(retried.unwrap()["reason"], "yearly", "the one that somebody gave, where there is no new one");
    let found = world.token_key(&["verify"]).done().json();
    assert_eq!((&found["without_new"], &found["mismatched"]), (&json!(0), &json!(3)));

    // What nobody listed is found: a token that is another's, and one that comes to be two.
    let new = "(SELECT o.ip_token_b FROM pii_vault.login_events AS o ORDER BY o.event_id DESC LIMIT 1)";
    change(&format!("ip_token_b = {new}"), &ids[20..21]).await;
    let found = world.token_key(&["verify", "--sample", "1000"]).exits(4).json();
    let whys: Vec<_> =
        found["differences"].as_array().unwrap().iter().map(|row| row["why"].as_str().unwrap()).collect();
    assert!(whys.contains(&"ip_new_token_has_several"), "{found}");
    assert_eq!(found["wrong"], json!([{"create_date": "2025-03-09", "event_id": ids[20], "why": "token_mismatch"}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_stops_where_its_key_goes_and_writes_nothing_more() {
    let world = World::vault().await;
    world.import(1_000);
    let run = world.start_token_key(&[&RUN[..], &["--batch", "20", "--rate", "100/s"]].concat());
    let limit = Duration::from_secs(10);
    while world.count("pii_vault.login_events WHERE token_key_b IS NOT NULL").await < 40 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // As a rollback does it.
    world
        .sql
        .batch_execute(
            "BEGIN; LOCK TABLE pii_vault.token_keys IN EXCLUSIVE MODE;
             UPDATE pii_vault.token_keys SET state = 'decrypt-only' WHERE state = 'pending';
             UPDATE pii_vault.rotation_jobs SET step = 'emptying', rolled_back = true; COMMIT",
        )
        .await
        .unwrap();
    let filled = world.count("pii_vault.login_events WHERE token_key_b IS NOT NULL").await;
    let over = std::time::Instant::now();
    let ended = run.finish().exits(3);
    assert_eq!(ended.json()["refused"], "rotation_over");
    assert!(over.elapsed() < limit, "it waits for nothing: {:?}", over.elapsed());
    assert_eq!(world.count("pii_vault.login_events WHERE token_key_b IS NOT NULL").await, filled);
    world.token_key(&RUN).exits(3);
    assert_eq!(world.count("pii_vault.token_keys").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_pauses_it_and_a_pause_of_others_stops_it() {
    let world = World::vault().await;
    world.import(1_000);
    let slow = ["run", "--reason", "x", "--batch", "20", "--rate", "100/s"];
    let at_work = async || {
        let before = world.count("pii_vault.login_events WHERE token_key_b IS NOT NULL").await;
        while world.count("pii_vault.login_events WHERE token_key_b IS NOT NULL").await == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let run = world.start_token_key(&slow);
    at_work().await;
    run.signal("TERM");
    assert_eq!(run.finish().done().json()["ended"], "stopped");
    assert_eq!(world.token_job().await["paused"], true);
    let run = world.start_token_key(&slow);
    at_work().await;
    assert_eq!(world.token_job().await["paused"], false);
    let pause = "SELECT pii_vault.pause_rotation((SELECT id FROM pii_vault.rotation_jobs), 'enough')";
    assert_eq!(sqlstate(&world.connect(Who::Reseal).await, pause).await, None);
    assert_eq!(run.finish().done().json()["ended"], "paused");
    assert_eq!(world.token_key(&["run"]).done().json()["ended"], "filled");
    world.assert_both_slots_are_right().await;
}
