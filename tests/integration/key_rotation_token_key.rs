//! `key-rotation token-key` run, verify and token-map, while ingestion goes on.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Who, World, login};

const RUN: [&str; 3] = ["run", "--reason", "yearly"];
const UNFILLED: &str = "token_key_a IS NULL OR token_key_b IS NULL";

/// What analysts ask for: how many logins share an address, and a device.
async fn duplicates(world: &World) -> Vec<String> {
    let sql = "SELECT array_agg(n ORDER BY n)::text FROM (SELECT count(*) AS n FROM user_logins \
               WHERE create_date = '2025-03-09' GROUP BY masked_ip) AS g \
               UNION ALL SELECT array_agg(n ORDER BY n)::text FROM (SELECT count(*) AS n FROM user_logins \
               WHERE create_date = '2025-03-09' GROUP BY masked_device_id) AS g";
    world.connect(Who::Analyst).await.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_gets_tokens_of_both_keys_while_two_ingest_and_an_analyst_reads() {
    let world = World::vault().await;
    world.import(3_000);
    let (before, shown) = (world.slots().await, duplicates(&world).await);
    let ingest: Vec<_> = (0..2).map(|_| world.pii_vault(Who::Ingest, &["etl", "run", "--wait", "1s"])).collect();
    world.send_logins(20).await;
    world.wait_for_rows("create_date > '2025-12-31'", 20).await;

    // So slowly that back-fill does not come to what ingestion brings meanwhile.
    let run = world.start_token_key(&[&RUN[..], &["--batch", "1", "--rate", "10/s"]].concat());
    while world.count("pii_vault.token_keys WHERE state = 'pending'").await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let made = Instant::now();
    // Several at a time, so that both processes get some.
    let mut sent = 20;
    let picked_up = loop {
        world.send((sent..sent + 20).map(|number| login(number).to_string())).await;
        sent += 20;
        assert_eq!(duplicates(&world).await, shown, "nothing changes for who reads");
        let fresh = "pii_vault.login_events WHERE create_date > '2025-12-31' AND token_key_b IS NOT NULL \
                     AND ingested_at > (SELECT created_at FROM pii_vault.token_keys WHERE state = 'pending')";
        if world.count(fresh).await > 0 {
            break made.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    eprintln!("the pending key was in use after {picked_up:?}");
    assert!(picked_up < Duration::from_secs(5), "{picked_up:?}");
    run.signal("TERM");
    assert_eq!(run.finish().done().json()["ended"], "stopped");
    let summary = world.token_key(&["run"]).done().json();
    assert_eq!((&summary["ended"], &summary["failed"]), (&json!("filled"), &json!(0)), "{summary}");
    world.send_logins(50).await;
    world.wait_for_rows("create_date > '2025-12-31'", i64::try_from(sent + 50).unwrap()).await;
    for one in ingest {
        one.signal("TERM");
        let ended = one.finish().done();
        assert!(!ended.stderr.contains("these must come again"), "{}", ended.stderr);
    }

    world.assert_both_slots_are_right().await;
    let after = world.slots().await;
    assert!(before.iter().all(|(event, slots)| after[event][0] == slots[0]), "old tokens stay");
    assert_eq!(duplicates(&world).await, shown);
    let verified = world.token_key(&["verify"]).done().json();
    assert_eq!((&verified["verified"], &verified["sampled"]), (&json!(true), &json!(100)), "{verified}");
    assert_eq!(verified["rows"], json!(3_000 + sent + 50));
    world.pii_vault(Who::Auditor, &["audit", "verify"]).finish().done();
    let log = world.log("key_rotation").await;
    let steps: Vec<_> = log.iter().map(|entry| entry["details"]["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["start", "pause", "resume", "filled", "sample"]);
    assert_eq!((&log[0]["reason"], &log[0]["details"]["total"]), (&json!("yearly"), &json!(3_020)));
    // What was done is not begun once more.
    assert_eq!(world.token_key(&["run"]).done().json()["ended"], "filled");
    assert_eq!(world.count("pii_vault.token_keys").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_read_while_a_rotation_begins_and_a_key_goes_is_read_to_its_end() {
    let world = World::vault().await;
    let args = ["etl", "run", "--input", "-", "--source", "slow", "--date", "2025-03-09", "--batch-size", "50"];
    let mut command = world.command(Who::Ingest, &args);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut reading = piped.spawn().unwrap();
    let mut stdin = reading.stdin.take().unwrap();
    let mut sent = 0;
    let mut send_for = async |time: Duration| {
        let since = Instant::now();
        while since.elapsed() < time {
            for number in sent..sent + 50 {
                writeln!(stdin, "{}", login(number)).unwrap();
            }
            sent += 50;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        sent
    };
    send_for(Duration::from_secs(1)).await;
    let run = world.start_token_key(&RUN);
    send_for(Duration::from_secs(8)).await;
    assert_eq!(run.finish().done().json()["ended"], "filled");
    // As when a rotation is finished.
    world
        .sql
        .batch_execute("UPDATE pii_vault.token_keys SET state = 'decrypt-only' WHERE state = 'pending'")
        .await
        .unwrap();
    let lines = send_for(Duration::from_secs(2)).await;
    drop(stdin);
    let ended = reading.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(world.count("pii_vault.login_events").await, i64::try_from(lines).unwrap());
    assert!(world.count("pii_vault.login_events WHERE token_key_b IS NULL").await > 0, "after the key went");
}

/// Which shows that nothing is let through once the rows are said to be filled.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_was_let_through_without_the_key_is_waited_for_and_filled() {
    let world = World::vault().await;
    world.import(100);
    let old: uuid::Uuid = world.sql.query_one("SELECT id FROM pii_vault.token_keys", &[]).await.unwrap().get(0);
    let run = world.start_token_key(&RUN);
    while world.count("pii_vault.token_keys WHERE optional").await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let hold = format!("SELECT pii_vault.hold_keys('{{}}', '{{}}', '{{{old}}}')::text");
    let ingest = world.superuser().await;
    ingest.batch_execute("BEGIN").await.unwrap();
    assert_eq!(ingest.query_one(&hold, &[]).await.unwrap().get::<_, String>(0), "held");
    ingest
        .batch_execute(
            "CREATE TEMP TABLE late ON COMMIT DROP AS SELECT * FROM pii_vault.login_events ORDER BY event_id LIMIT 1;
             DELETE FROM pii_vault.login_events WHERE event_id = (SELECT event_id FROM late);
             UPDATE late SET ip_token_b = NULL, device_id_token_b = NULL, token_key_b = NULL;
             INSERT INTO pii_vault.login_events SELECT * FROM late",
        )
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(world.token_job().await["step"], "work", "the batch may bring a row");
    let other = world.connect(Who::Ingest).await;
    ingest.batch_execute("COMMIT").await.unwrap();
    assert_eq!(run.finish().done().json()["ended"], "filled");
    assert_eq!(world.count(&format!("pii_vault.login_events WHERE {UNFILLED}")).await, 0);
    assert_eq!(other.query_one(&hold, &[]).await.unwrap().get::<_, String>(0), "token_keys_changed");
    world.assert_both_slots_are_right().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_map_of_tokens_is_what_both_keys_give_and_nothing_goes_out_unrecorded() {
    let world = World::vault().await;
    world.import(700);
    world.token_key(&["token-map", "--reason", "x"]).exits(3);
    world.token_key(&["verify"]).exits(3);
    world.token_key(&RUN).done();
    let holder = world.superuser().await;
    holder.batch_execute("BEGIN; LOCK TABLE pii_vault.audit_turn").await.unwrap();
    let failed = world.token_key(&["token-map", "--reason", "x"]).exits(1);
    assert_eq!(failed.stdout, "");
    holder.batch_execute("ROLLBACK").await.unwrap();

    let expected: BTreeSet<_> = world
        .slots()
        .await
        .into_values()
        .flat_map(|[old, new]| {
            let ((old_ip, old_device), (new_ip, new_device)) = (old.unwrap(), new.unwrap());
            [format!("ip,{old_ip},{new_ip}"), format!("device_id,{old_device},{new_device}")]
        })
        .collect();
    let csv = world.token_key(&["token-map", "--reason", "warehouse"]).done();
    let mut lines: Vec<_> = csv.stdout.lines().map(str::to_owned).collect();
    assert_eq!(lines.remove(0), "field,old_token,new_token");
    assert_eq!(lines.len(), expected.len(), "each once");
    assert_eq!(lines.into_iter().collect::<BTreeSet<_>>(), expected);
    let summary: Value = serde_json::from_str(csv.stderr.lines().last().unwrap()).unwrap();
    let map = world.log("key_rotation").await.pop().unwrap();
    assert_eq!((&map["details"]["step"], &map["reason"]), (&json!("token_map"), &json!("warehouse")));
    assert_eq!((&map["details"]["ips"], &map["details"]["device_ids"]), (&json!(700), &json!(100)));
    assert_eq!(summary, json!({"audit_seq": map["seq"], "ips": 700, "device_ids": 100}));

    let path = std::env::temp_dir().join(format!("pii-vault-map-{}", world.id));
    let out = path.to_str().unwrap();
    let args = ["token-map", "--reason", "x", "--format", "json", "--out", out];
    world.token_key(&args).done();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let read = |line: &str| -> String {
        let line: Value = serde_json::from_str(line).unwrap();
        let member = |name: &str| line[name].as_str().unwrap().to_owned();
        [member("field"), member("old_token"), member("new_token")].join(",")
    };
    assert_eq!(text.lines().map(read).collect::<BTreeSet<_>>(), expected);
}
