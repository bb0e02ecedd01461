//! Data keys are rotated while everything goes on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{DAY, Readers, Traffic, Who, World, ended, keys_seen};

const ALL: [&str; 5] = ["run", "--max-age", "0", "--reason", "a test"];

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_sealed_anew_while_ingestion_and_unmask_go_on() {
    let world = World::vault().await;
    world.ingest(3, 700);
    let before = world.events_as_text().await;
    assert_eq!(before.len(), 2_100);
    let stored = world.events_of_logins().await;
    let readers = Readers::begin(&world).await;
    let mut traffic = Traffic::begin(&world, &[]).await;

    let started = Instant::now();
    let run = world.start_data_key(&[&ALL[..], &["--batch", "50", "--rate", "700/s"]].concat());
    traffic.go_on_until(&world, "pii_vault.rotation_jobs WHERE step = 'done'").await;
    let report = run.finish().done().json();
    let took = started.elapsed();
    let (how, changed, failed) = ended(&report);
    assert_eq!((how, failed), ("done", 0), "{report}");
    assert!(changed >= 2_100 && traffic.looks >= 2, "{report}: {}", traffic.looks);
    assert!(took > Duration::from_millis(2_500), "2,100 rows at 700 a second took {took:?}");

    // All of it while rows come and are read.
    readers.end_of_snapshot().await;
    let verified = world.data_key(&["verify"]).done().json();
    assert_eq!((&verified["rows_left"], &verified["wrong"], &verified["opened"]), (&json!(0), &json!([]), &json!(200)));
    traffic.go_on(&world).await;
    let retired = world.data_key(&["retire", "--reason", "they are empty"]).done().json();
    let old = world.count("pii_vault.data_keys WHERE state = 'retired'").await;
    assert!(old >= 4, "three of files, one or two of the processes: {old}");
    assert_eq!(retired["keys"].as_array().map(Vec::len), usize::try_from(old).ok());
    traffic.go_on(&world).await;

    let mut sent = traffic.end(&world).await;
    let came = sent.len();
    let after = world.events_as_text().await;
    assert_eq!(after.len(), before.len() + came, "none lost, none doubled");
    assert!(before.iter().all(|(id, event)| after.get(id) == Some(event)), "what is in them is what was, tokens too");
    assert_eq!(world.rows_under_old_keys().await, 0);

    sent.extend(stored);
    let seen = readers.saw().await;
    assert_eq!(keys_seen(&seen, &world.tokens_by_key(&sent).await), [0], "tokens stay, in {} statements", seen.len());
    assert_eq!(world.rotation_steps().await, ["start", "done", "sample", "retire"]);
    let start = &world.log("key_rotation").await[0];
    assert_eq!((&start["reason"], &start["details"]["max_age"]), (&json!("a test"), &json!(0)));
    assert_eq!(start["role"], "pii_vault_reseal");
    world.pii_vault(Who::Auditor, &["audit", "verify"]).finish().done();
    assert_eq!(world.unmask(&["--since", DAY, "--until", DAY, "--format", "json"]).done().lines().len(), 2_100);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_do_not_open_are_passed_over_and_set_aside() {
    let world = World::vault().await;
    world.ingest(3, 40);
    let corrupt = corrupt_ten(&world).await;
    let report = world.data_key(&[&ALL[..], &["--batch", "7"]].concat()).exits(4).json();
    assert_eq!(ended(&report), ("done", 34, 10), "{report}");
    let sql = "SELECT why::text, count(*) FROM pii_vault.rotation_failures GROUP BY 1 ORDER BY 1";
    let why: Vec<(String, i64)> =
        world.sql.query(sql, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
    let expected = [
        ("key_commitment", 2),
        ("key_does_not_unwrap", 2),
        ("not_authentic", 4),
        ("step_above_maximum", 1),
        ("unknown_version", 1),
    ];
    assert_eq!(why, expected.map(|(why, count)| (why.to_owned(), count)));
    assert_eq!(world.rows_under_old_keys().await, 10);

    // They are left as they are; nothing hides them.
    let left = world.data_key(&["verify"]).exits(4).json();
    assert_eq!((&left["rows_left"], &left["opened"]), (&json!(10), &json!(34)), "{left}");
    let kept = world.data_key(&["retire", "--key", &corrupt, "--reason", "x"]).exits(3).json();
    assert_eq!(kept["refused"], "rows_left");
    assert_eq!(kept["keys"], json!([{"id": corrupt, "state": "decrypt-only", "rows": 6, "set_aside": 0}]));
    let others = world.data_key(&["retire", "--reason", "x"]).done().json();
    assert_eq!(others["keys"], json!([]), "each of the old keys has rows");

    let job = report["job"].as_str().unwrap();
    let aside = ["key-rotation", "data-key", "set-aside", "--job", job, "--reason", "no backup", "--output", "json"];
    world.pii_vault(Who::Reseal, &aside).finish().exits(1);
    let moved = world.pii_vault(Who::Administrator, &aside).finish().done().json();
    assert_eq!(moved["rows"], 10);
    let status = world.pii_vault(Who::Auditor, &["key-rotation", "status", "--output", "json"]).finish().done().json();
    let told = |name: &str| -> Vec<_> {
        let groups = status["keys"].as_array().unwrap().iter();
        groups.map(|group| json!([group["purpose"], group["state"], group[name]])).collect()
    };
    assert_eq!(
        (&told("rows")[..2], &told("set_aside")[..3]),
        (
            &[json!(["data", "active", 34]), json!(["data", "decrypt-only", 0])][..],
            &[json!(["data", "active", 0]), json!(["data", "decrypt-only", 10]), json!(["token", "active", null])][..]
        )
    );
    assert_eq!(world.count("pii_vault.set_aside_events WHERE octet_length(ip_ciphertext) = 81").await, 10);
    assert_eq!((world.count("pii_vault.login_events").await, world.rows_under_old_keys().await), (34, 0));
    let retired = world.data_key(&["retire", "--key", &corrupt, "--reason", "x"]).done().json();
    assert_eq!(retired["keys"], json!([{"id": corrupt, "state": "retired", "rows": 0, "set_aside": 6}]));
    world.data_key(&["retire", "--reason", "x"]).done();
    assert_eq!(world.count("pii_vault.data_keys WHERE state <> 'active'").await, 3);
    assert_eq!(world.count("pii_vault.data_keys WHERE state = 'retired'").await, 3);
    let steps = world.rotation_steps().await;
    assert_eq!(steps, ["start", "done", "sample", "set_aside", "retire", "retire"]);
    let log = world.log("key_rotation").await;
    assert_eq!((&log[3]["reason"], &log[3]["details"]["rows"]), (&json!("no backup"), &json!(10)));
    world.data_key(&["verify", "--sample", "0"]).done();
}

/// Ten rows of three keys; the id of the key of six of them.
async fn corrupt_ten(world: &World) -> String {
    let keys: Vec<uuid::Uuid> = world
        .sql
        .query("SELECT id FROM pii_vault.data_keys ORDER BY created_at", &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let nth = |key: usize, nth: usize| {
        format!(
            "event_id = (SELECT event_id FROM pii_vault.login_events WHERE data_key_id = '{}' \
             ORDER BY event_id OFFSET {nth} LIMIT 1)",
            keys[key]
        )
    };
    let events = |set: &str, key, n| format!("UPDATE pii_vault.login_events SET {set} WHERE {}", nth(key, n));
    // Of two keys all rows but two go, so that ten rows are corrupt in all.
    for key in &keys[1..] {
        let rest = format!(
            "DELETE FROM pii_vault.login_events WHERE data_key_id = '{key}' AND event_id NOT IN \
             (SELECT event_id FROM pii_vault.login_events WHERE data_key_id = '{key}' ORDER BY event_id LIMIT 2)"
        );
        assert_eq!(world.sql.execute(&rest, &[]).await.unwrap(), 38);
    }
    for sql in [
        "SET session_replication_role = replica".to_owned(),
        events("ip_ciphertext = set_byte(ip_ciphertext, 40, get_byte(ip_ciphertext, 40) # 1)", 0, 0),
        events(
            "device_id_ciphertext = set_byte(device_id_ciphertext, 20, 255 - get_byte(device_id_ciphertext, 20))",
            0,
            1,
        ),
        events("user_id = 'another'", 0, 2),
        events("create_date = create_date - 1", 0, 3),
        events("ip_ciphertext = set_byte(ip_ciphertext, 0, 2)", 0, 4),
        events("device_id_ciphertext = set_byte(device_id_ciphertext, 1, 127)", 0, 5),
        format!("UPDATE pii_vault.data_keys SET commitment = sha256('forged') WHERE id = '{}'", keys[1]),
        format!(
            "UPDATE pii_vault.data_keys SET wrapped_key = overlay(wrapped_key PLACING '\\x00' FROM 60) WHERE id = '{}'",
            keys[2]
        ),
        "SET session_replication_role = origin".to_owned(),
    ] {
        world.sql.batch_execute(&sql).await.unwrap();
    }
    keys[0].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_pauses_at_sigterm_and_goes_on_where_it_was() {
    let world = World::vault().await;
    world.ingest(2, 400);
    let before = world.events_as_text().await;
    world.data_key(&["run"]).exits(2);
    world.data_key(&["run", "--max-age", "90d"]).exits(2);
    world.data_key(&["run", "--key", &uuid::Uuid::nil().to_string(), "--reason", "x"]).exits(2);
    let nothing = world.data_key(&["run", "--max-age", "90d", "--reason", "x"]).done().json();
    assert_eq!(nothing, json!({"job": null, "ended": "nothing to do"}));
    assert_eq!(world.rotation_steps().await, [""; 0]);

    let run = world.start_data_key(&[&ALL[..], &["--batch", "20", "--rate", "400/s", "--workers", "1"]].concat());
    world.wait_for_resealed(100).await;
    run.signal("TERM");
    let paused = run.finish().done().json();
    let (how, changed, _) = ended(&paused);
    assert_eq!(how, "stopped", "{paused}");
    assert!((100..800).contains(&changed), "{paused}");
    assert_eq!(
        world.rows_under_old_keys().await,
        800 - i64::try_from(changed).unwrap(),
        "what it had in hand is settled"
    );
    assert_eq!(world.count("pii_vault.rotation_jobs WHERE paused").await, 1);
    assert_eq!(world.data_key(&["verify", "--sample", "20"]).exits(1).json()["opened"], 20);
    let other = ["run", "--key", "00000000-0000-0000-0000-000000000009", "--reason", "a leak"];
    assert_eq!(world.data_key(&other).exits(3).json()["refused"], "rotation_unfinished");
    let job = paused["job"].as_str().unwrap();
    let aside = ["key-rotation", "data-key", "set-aside", "--job", job, "--reason", "x"];
    let early = world.pii_vault(Who::Administrator, &aside).finish().exits(3);
    assert!(early.stdout.is_empty() && early.stderr.contains("is done (not_done)\nnext: "), "{}", early.stderr);
    let unknown = world.data_key(&["retire", "--key", &uuid::Uuid::nil().to_string(), "--reason", "x"]).exits(3);
    assert_eq!(unknown.json()["refused"], "unknown_key");
    world.data_key(&["retire", "--reason", "x"]).done();
    assert_eq!(world.count("pii_vault.data_keys WHERE state = 'retired'").await, 0);

    let run = world.start_data_key(&["run", "--batch", "20", "--rate", "200/s", "--workers", "1"]);
    world.wait_for_resealed(i64::try_from(changed).unwrap() + 40).await;
    assert_eq!(world.data_key(&["pause", "--reason", "the disks are busy"]).done().json()["job"], paused["job"]);
    assert_eq!(ended(&run.finish().done().json()).0, "paused");

    let resumed = world.data_key(&["run"]).done().json();
    assert_eq!((ended(&resumed), &resumed["job"]), (("done", 800, 0), &paused["job"]));
    assert_eq!(world.events_as_text().await, before);
    assert_eq!(world.rotation_steps().await, ["start", "pause", "sample", "resume", "pause", "resume", "done"]);
    let named: uuid::Uuid =
        world.sql.query_one("SELECT data_key_id FROM pii_vault.login_events LIMIT 1", &[]).await.unwrap().get(0);
    let run = world.data_key(&["run", "--key", &named.to_string(), "--reason", "a leak"]).done().json();
    assert_eq!(ended(&run).0, "done");
    assert_eq!(world.count(&format!("pii_vault.login_events WHERE data_key_id = '{named}'")).await, 0);
    assert_eq!(world.log("key_rotation").await[7]["details"]["named"], json!([named.to_string()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_seals_for_ingestion_is_left_as_soon_as_it_is_named() {
    let world = World::vault().await;
    world.ingest(1, 3);
    let ingest = ["etl", "run", "--wait", "1s", "--visibility-timeout", "1s", "--output", "json"];
    let ingestion = world.pii_vault(Who::Ingest, &ingest);
    world.send_logins(10).await;
    world.wait_for_rows("true", 13).await;
    let report = world.data_key(&ALL).done().json();
    assert_eq!(ended(&report), ("done", 13, 0));
    world.send_logins(10).await;
    world.wait_for_rows("true", 23).await;
    assert_eq!(world.rows_under_old_keys().await, 0);
    ingestion.signal("TERM");
    let summary: Value = ingestion.finish().done().json();
    assert!(summary["left_in_queue"].as_u64().unwrap() >= 1, "they came once more: {summary}");
    assert_eq!(world.opened_events().await.len(), 23);
}
