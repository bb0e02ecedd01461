use std::collections::BTreeSet;
use std::time::Duration;

use pii_vault::aws::{EncryptionContext, KeyWrapper as _};
use pii_vault::crypto::Commitment;
use pii_vault::domain::{KeyId, Purpose};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Running, Who, World, login};

fn start(world: &World, args: &[&str]) -> Running {
    let redrive = ["etl", "dead-letters", "redrive", "--output", "json"];
    world.pii_vault(Who::Redrive, &[&redrive, args].concat())
}

fn redrive(world: &World, args: &[&str]) -> Value {
    start(world, &[&["--note", "a test"], args].concat()).finish().done().json()
}

fn counts(report: &Value) -> [u64; 5] {
    ["selected", "stored", "already_stored", "did_not_open", "not_tried"].map(|key| report[key].as_u64().unwrap())
}

async fn outcomes(world: &World) -> Vec<(String, i64)> {
    let sql = "SELECT coalesce(outcome::text, '-'), count(*) FROM pii_vault.redrive_rows GROUP BY 1 ORDER BY 1";
    world.sql.query(sql, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_today_becomes_an_event_in_place_and_the_rest_stays() {
    let world = World::vault().await;
    let mut long = login(3);
    long["locale"] = "x".repeat(33).into();
    let good = world.set_aside((0..30).map(|number| login(number).to_string())).await;
    let bad = world.set_aside([long.to_string(), "{".to_owned()]).await;

    let report = redrive(&world, &["--all"]);
    assert_eq!(counts(&report), [32, 30, 0, 0, 0]);
    assert_eq!(report["still_dead"], json!({"invalid_json": 1, "too_long": 1}));
    let events = world.opened_events().await;
    assert_eq!(events.keys().collect::<BTreeSet<_>>(), good.iter().collect());
    let event = &events[&good[1]];
    assert_eq!((event.ip.as_str(), event.device_id.as_str()), ("10.0.0.1", "device-1"));
    assert_eq!(world.count("pii_vault.login_events_2026_03").await, 30, "the letters' own day, in its partition");

    // The reason is today's; the record says who, why, which and what became of it.
    let letters = world.opened_dead_letters().await;
    assert_eq!(letters.len(), 32, "redriven ones are marked and kept");
    assert_eq!((letters[&bad[0]].reason.as_str(), letters[&bad[0]].member.as_deref()), ("too_long", Some("locale")));
    let job = world.sql.query_one("SELECT id::text, actor, note, row_count FROM pii_vault.redrive_jobs", &[]).await;
    let job = job.unwrap();
    assert_eq!(job.get::<_, String>(1), format!("redrive_{}", world.id));
    assert_eq!((job.get::<_, &str>(2), job.get::<_, i32>(3)), ("a test", 32));
    assert_eq!(report["jobs"], json!([job.get::<_, String>(0)]));
    assert_eq!(report["audit_seqs"], json!([world.log("redrive").await[0]["seq"]]));
    assert_eq!(outcomes(&world).await, [("refused".to_owned(), 2), ("stored".to_owned(), 30)]);

    let listed = |args: &[&str]| -> BTreeSet<Uuid> {
        let list = ["etl", "dead-letters", "list", "--output", "json"];
        let rows = world.pii_vault(Who::Redrive, &[&list, args].concat()).finish().done().json();
        rows.as_array().unwrap().iter().map(|row| row["message_id"].as_str().unwrap().parse().unwrap()).collect()
    };
    assert_eq!(listed(&[]), bad.iter().copied().collect());
    assert_eq!(listed(&["--redriven"]), good.iter().copied().collect());
    // A second run finds only what is still dead, and a redelivery meets its first copy.
    assert_eq!(counts(&redrive(&world, &["--all"])), [2, 0, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_selected_by_reason_age_id_and_limit() {
    let world = World::vault().await;
    let ids = world.set_aside((0..6).map(|number| login(number).to_string())).await;
    let old = format!("received_at = now() - interval '2 days', reason = 'empty' WHERE message_id = '{}'", ids[0]);
    world.sql.batch_execute(&format!("UPDATE pii_vault.dead_letters SET {old}")).await.unwrap();
    let dry = |args: &[&str]| start(&world, &[&["--dry-run"], args].concat()).finish().done().json();
    assert_eq!(dry(&["--all"]), json!({"empty": 1, "invalid_json": 5}));
    assert_eq!(dry(&["--older-than", "1d"]), json!({"empty": 1}));
    assert_eq!(dry(&["--newer-than", "1d", "--reason", "empty", "--reason", "too_deep"]), json!({}));
    assert_eq!(dry(&["--reason", "invalid_json", "--id", &ids[1].to_string()]), json!({"invalid_json": 1}));
    assert_eq!(world.count("pii_vault.redrive_jobs").await, 0, "a dry run opens nothing, so it records nothing");

    let stored = |args: &[&str]| counts(&redrive(&world, args))[1];
    assert_eq!(stored(&["--older-than", "1d"]), 1);
    assert_eq!(stored(&["--id", &ids[1].to_string(), "--id", &Uuid::nil().to_string()]), 1);
    assert_eq!(stored(&["--newer-than", "1h", "--limit", "3"]), 3);
    assert_eq!(stored(&["--reason", "invalid_json"]), 1);
    let recorded = world.log("redrive").await.len();
    assert_eq!(redrive(&world, &["--all"])["jobs"], json!([]));
    assert_eq!(world.log("redrive").await.len(), recorded, "what finds nothing opens nothing");
    assert_eq!(world.opened_events().await.len(), 6);

    for args in [&["--note", "x"][..], &["--all"], &["--all", "--id", &ids[1].to_string(), "--note", "x"]] {
        start(&world, args).finish().exits(2);
    }
    start(&world, &["--all", "--note", " "]).finish().exits(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_does_not_open_is_named_and_the_rest_goes_on() {
    let world = World::vault().await;
    let body = |number| login(number).to_string();
    let corrupt = world.set_aside([body(1)]).await[0];
    let (mismatched, rewrapped) = (world.set_aside([body(2)]).await[0], world.set_aside([body(3)]).await[0]);
    let orphan = world.set_aside([body(4)]).await[0];
    let good = world.set_aside([body(5), body(6)]).await;
    let key_of = |id| format!("id = (SELECT dead_letter_key_id FROM pii_vault.dead_letters WHERE message_id = '{id}')");
    for sql in [
        format!(
            "UPDATE pii_vault.dead_letters SET body_ciphertext = overlay(body_ciphertext PLACING '\\x00' FROM 30) \
                 WHERE message_id = '{corrupt}'"
        ),
        format!("UPDATE pii_vault.dead_letter_keys SET commitment = sha256('forged') WHERE {}", key_of(mismatched)),
        format!(
            "UPDATE pii_vault.dead_letter_keys SET wrapped_key = overlay(wrapped_key PLACING '\\x00' FROM 60) \
                 WHERE {}",
            key_of(rewrapped)
        ),
        format!("DELETE FROM pii_vault.dead_letter_keys WHERE {}", key_of(orphan)),
    ] {
        assert_eq!(world.past_triggers(&sql).await, 1, "{sql}");
    }
    let broken = start(&world, &["--all", "--note", "x"]).finish().exits(4);
    let report = broken.json();
    assert_eq!(counts(&report), [6, 2, 0, 4, 0]);
    let why = |id: Uuid| {
        let listed = report["unopened"].as_array().unwrap();
        let letter = listed.iter().find(|letter| letter["message_id"] == id.to_string()).unwrap();
        letter["why"].as_str().unwrap().to_owned()
    };
    assert!(why(corrupt).contains("not what was sealed"), "{report}");
    assert!(why(mismatched).contains("not the one that was committed to"), "{report}");
    assert!(why(rewrapped).contains("KMS does not unwrap it"), "{report}");
    assert!(why(orphan).contains("is not stored"), "{report}");
    assert_eq!(world.opened_events().await.into_keys().collect::<BTreeSet<_>>(), good.into_iter().collect());
    assert_eq!(outcomes(&world).await, [("did_not_open".to_owned(), 4), ("stored".to_owned(), 2)]);
    let pages = world.log("redrive_page").await;
    assert_eq!(pages.len(), 1);
    let details = &pages[0]["details"];
    assert_eq!([&details["stored"], &details["refused"], &details["did_not_open"]], [2, 0, 4]);
    let rows = "pii_vault.redrive_rows AS r WHERE outcome = 'did_not_open' AND r.ordinal IN \
                (SELECT json_array_elements_text(details->'unopened')::integer FROM pii_vault.audit_log \
                 WHERE action = 'redrive_page' AND subject = r.job)";
    assert_eq!(world.count(rows).await, 4);
    assert!(!broken.stderr.contains("device-") && !broken.stdout.contains("device-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_and_twice_at_once_it_loses_and_doubles_nothing() {
    let world = World::vault().await;
    let ids = world.set_aside((0..2_600).map(|number| login(number).to_string())).await;
    for round in 1..4 {
        let mut run = start(&world, &["--all", "--note", "interrupted"]);
        while world.count("pii_vault.dead_letters WHERE redriven_at IS NOT NULL").await < round * 300 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        if round == 1 {
            run.signal("TERM");
            let report = run.finish().done().json();
            assert_eq!((&report["stopped"], counts(&report)[0] < 2_600), (&json!(true), true), "{report}");
        } else {
            run.kill();
        }
        let marked_without_event = "pii_vault.dead_letters AS l LEFT JOIN pii_vault.login_events AS e \
             ON e.create_date = l.create_date AND e.event_id = l.message_id \
             WHERE (l.redriven_at IS NULL) <> (e.event_id IS NULL)";
        assert_eq!(world.count(marked_without_event).await, 0);
    }
    let two = [start(&world, &["--all", "--note", "one"]), start(&world, &["--all", "--note", "two"])];
    let reports = two.map(|run| run.finish().done().json());
    for report in &reports {
        let [selected, stored, already, unopened, not_tried] = counts(report);
        assert_eq!((selected, unopened), (stored + already + not_tried, 0), "{report}");
    }
    assert_eq!(world.opened_events().await.into_keys().collect::<BTreeSet<_>>(), ids.into_iter().collect());
    assert_eq!(world.count("pii_vault.dead_letters WHERE redriven_at IS NULL").await, 0);
    world.pii_vault(Who::Auditor, &["audit", "verify"]).finish().done();
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_1_mib_come_in_pages_that_fit() {
    let world = World::vault().await;
    let mut big = login(1);
    big["extra"] = "x".repeat((1 << 20) - big.to_string().len() - r#","extra":"""#.len()).into();
    assert_eq!(big.to_string().len(), 1 << 20);
    world.set_aside(vec![big.to_string(); 17]).await;
    assert_eq!(counts(&redrive(&world, &["--all"])), [17, 17, 0, 0, 0]);
    let pages = "(SELECT DISTINCT redriven_at::timestamp(3) FROM pii_vault.dead_letters) AS pages";
    assert!(world.count(pages).await >= 3, "8 MiB a page");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_a_redelivery_brought_first_is_met_and_the_letter_marked() {
    let world = World::vault().await;
    let id = world.send([login(1).to_string()]).await[0];
    world.drain(&[]);
    let letter = world.set_aside([login(1).to_string()]).await[0];
    // The same message, set aside by an older version: its event exists already.
    let moved = format!("UPDATE pii_vault.login_events SET create_date = '2026-03-31', event_id = '{letter}'");
    assert_eq!(world.sql.execute(&moved, &[]).await.unwrap(), 1, "{id}");
    assert_eq!(counts(&redrive(&world, &["--all"])), [1, 0, 1, 0, 0]);
    assert_eq!(world.count("pii_vault.login_events").await, 1);
    assert_eq!(world.count("pii_vault.dead_letters WHERE redriven_at IS NULL").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_go_out_of_use_or_into_it_under_a_run_are_renewed() {
    let world = World::vault().await;
    world.set_aside((0..2_600).map(|number| login(number).to_string())).await;
    let (vault, id) = (world.vault_id().await, KeyId::random());
    let key = world.kms().await.generate(EncryptionContext { vault, purpose: Purpose::Token, key: id }).await.unwrap();

    let run = start(&world, &["--all", "--note", "x"]);
    while world.sql.execute("UPDATE pii_vault.data_keys SET state = 'decrypt-only'", &[]).await.unwrap() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world
        .sql
        .execute(
            "INSERT INTO pii_vault.token_keys (id, slot, state, wrapped_key, kms_key, commitment) \
             VALUES ($1, 'b', 'pending', $2::bytea, $3, $4::bytea)",
            &[&id.0, &key.wrapped, &key.kms_key, &Commitment::to(&key.plaintext).as_bytes()],
        )
        .await
        .unwrap();
    assert_eq!(counts(&run.finish().done().json()), [2_600, 2_600, 0, 0, 0]);
    assert_eq!(world.opened_events().await.len(), 2_600);
    assert_eq!(world.count("pii_vault.data_keys").await, 2);
    assert!(world.count("pii_vault.login_events WHERE token_key_b IS NOT NULL").await > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_one_job_holds_is_worked_off_once_by_several() {
    let world = World::vault().await;
    world.set_aside(vec!["{"; 5_100]).await;
    let good = world.set_aside([login(1).to_string()]).await;
    let report = redrive(&world, &["--all"]);
    assert_eq!(counts(&report), [5_101, 1, 0, 0, 0]);
    assert_eq!(report["still_dead"], json!({"invalid_json": 5_100}));
    assert_eq!(report["jobs"].as_array().map(Vec::len), Some(2));
    assert_eq!(world.opened_events().await.into_keys().collect::<Vec<_>>(), good);
    assert_eq!(counts(&redrive(&world, &["--all", "--limit", "5050"])), [5_050, 0, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_read_while_kms_is_away() {
    let world = World::vault().await;
    world.set_aside([login(1).to_string()]).await;
    let args = ["etl", "dead-letters", "redrive", "--all", "--note", "x", "--patience", "1s"];
    let away = [("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1")];
    let failed = world.pii_vault_with(Who::Redrive, &args, &away).finish().exits(1);
    assert!(failed.stderr.contains("run it again") && failed.stderr.contains("kms:Decrypt"), "{}", failed.stderr);
    assert!(failed.stdout.contains("selected          0"), "{}", failed.stdout);
    assert_eq!(counts(&redrive(&world, &["--all"])), [1, 1, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_policy_asks_for_checkpoints_it_waits_for_one_and_is_refused_without() {
    let world = World::vault().await;
    world.set_aside([login(1).to_string()]).await;
    world.sql.batch_execute("SELECT pii_vault.set_policy(NULL, NULL, NULL, NULL, 'required', 'x')").await.unwrap();
    let refused = start(&world, &["--all", "--note", "x", "--patience", "1s"]).finish().exits(3);
    assert_eq!(counts(&refused.json()), [0, 0, 0, 0, 0]);
    assert!(
        refused.stderr.contains("(no_checkpoint)") && refused.stderr.contains("audit notary"),
        "{}",
        refused.stderr
    );

    let mut waiting = start(&world, &["--all", "--note", "x"]);
    waiting.wait_for_log("no_checkpoint");
    let sign = "INSERT INTO pii_vault.checkpoints SELECT seq, hash, hash, now(), 'key', hash FROM pii_vault.audit_head";
    world.sql.batch_execute(sign).await.unwrap();
    assert_eq!(counts(&waiting.finish().done().json()), [1, 1, 0, 0, 0]);
}
