//! What is not cut over, finished, rolled back or retired, and why.

use serde_json::json;
use uuid::Uuid;

use crate::support::{Who, World, sqlstate};

async fn filled() -> World {
    let world = World::vault().await;
    world.fill_other_slot_raw(300).await;
    world
}

/// The first rows by event id.
async fn rows(world: &World, most: i64) -> Vec<Uuid> {
    let sql = "SELECT event_id FROM pii_vault.login_events ORDER BY event_id LIMIT $1";
    world.sql.query(sql, &[&most]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn set_aside(world: &World, event: Uuid, why: &str) {
    world
        .sql
        .batch_execute(&format!(
            "INSERT INTO pii_vault.rotation_failures (job, day, id, key_id, why)
             SELECT j.id, e.create_date, e.event_id, e.data_key_id, '{why}'
             FROM pii_vault.login_events AS e, pii_vault.rotation_jobs AS j WHERE e.event_id = '{event}'"
        ))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_where_no_rotation_is_under_way() {
    let world = World::vault().await;
    for args in [&["cut-over"][..], &["finish"], &["rollback", "--reason", "a test"]] {
        assert_eq!(world.administer(args).finish().exits(3).json()["refused"], "no_rotation");
    }
    let human = world.pii_vault(Who::Administrator, &["key-rotation", "token-key", "cut-over"]).finish().exits(3);
    assert!(human.stderr.contains("next: pii-vault key-rotation token-key run"), "{}", human.stderr);
    let ingest = world.pii_vault(Who::Ingest, &["key-rotation", "token-key", "cut-over"]).finish().exits(1);
    assert!(ingest.stderr.contains("pii_vault_owner"), "{}", ingest.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_lacks_tokens_sends_the_job_back() {
    let world = filled().await;
    let row = rows(&world, 1).await[0];
    world
        .sql
        .batch_execute(&format!(
            "UPDATE pii_vault.login_events SET ip_token_b = NULL, device_id_token_b = NULL, token_key_b = NULL
             WHERE event_id = '{row}'"
        ))
        .await
        .unwrap();
    let refused = world.administer(&["cut-over"]).finish().exits(3).json();
    assert_eq!((&refused["refused"], &refused["rows"][0]["event_id"]), (&json!("not_filled"), &json!(row.to_string())));
    assert_eq!(world.rotation_step().await, "work");
    assert_eq!(world.administer(&["cut-over"]).finish().exits(3).json()["refused"], "not_filled");
    assert_eq!(world.administer(&["finish"]).finish().exits(3).json()["refused"], "not_filled");
    assert_eq!(world.slot_traces().await, ["device_id_token_a", "ip_token_a"], "nothing was begun");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_lacked_tokens_is_filled_by_the_same_job_and_the_log_holds() {
    let world = World::vault().await;
    world.send_logins(30).await;
    world.drain(&[]);
    world.fill_other_slot();
    let emptied = "UPDATE pii_vault.login_events SET ip_token_b = NULL, device_id_token_b = NULL, token_key_b = NULL
                   WHERE event_id = (SELECT min(event_id::text)::uuid FROM pii_vault.login_events)";
    world.sql.batch_execute(emptied).await.unwrap();
    let verify = || world.pii_vault(Who::Auditor, &["audit", "verify"]).finish();
    assert_eq!(world.administer(&["cut-over"]).finish().exits(3).json()["refused"], "not_filled");
    verify().done();
    world.fill_other_slot();
    world.administer(&["cut-over"]).finish().done();
    verify().done();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_do_not_open_stay_in_their_groups_where_that_is_accepted() {
    let world = filled().await;
    // One of two with the same ip; one alone.
    let pair =
        "SELECT array_agg(event_id) AS pair, ip_token_b::text AS token FROM pii_vault.login_events GROUP BY ip_token_b
                HAVING count(*) = 2 LIMIT 1";
    let pair = world.sql.query_one(pair, &[]).await.unwrap();
    let (twins, token): (Vec<Uuid>, String) = (pair.get(0), pair.get(1));
    let alone: Uuid = world
        .sql
        .query_one("SELECT min(event_id::text)::uuid FROM pii_vault.login_events GROUP BY ip_token_b HAVING count(*) = 1 LIMIT 1", &[])
        .await
        .unwrap()
        .get(0);
    for row in [twins[0], alone] {
        set_aside(&world, row, "not_authentic").await;
        world
            .sql
            .batch_execute(&format!(
                "UPDATE pii_vault.login_events SET ip_token_b = NULL, device_id_token_b = NULL, token_key_b = NULL
                 WHERE event_id = '{row}'"
            ))
            .await
            .unwrap();
    }
    let refused = world.administer(&["cut-over"]).finish().exits(3).json();
    assert_eq!(refused["refused"], "set_aside");
    assert_eq!(refused["rows"].as_array().unwrap().len(), 2);
    assert_eq!(refused["rows"][0]["why"], "not_authentic");
    assert_eq!(world.rotation_step().await, "filled");
    let analyst = world.connect(Who::Analyst).await;
    let before = crate::support::duplicates(&analyst).await;
    let done = world.administer(&["cut-over", "--accept-unopened"]).finish().done().json();
    assert_eq!((&done["unopened"], &done["rows"]), (&json!(2), &json!(300)));
    assert_eq!(crate::support::duplicates(&analyst).await, before);
    let sql = "SELECT masked_ip::text FROM user_logins WHERE event_id = $1";
    assert_eq!(analyst.query_one(sql, &[&twins[0]]).await.unwrap().get::<_, String>(0), token);
    let (_, details) = world.rotation_log().await.pop().unwrap();
    assert_eq!((&details["step"], &details["unopened"]), (&json!("cut_over"), &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_tampered_with_are_told_and_can_be_accepted() {
    let world = filled().await;
    let listed = rows(&world, 2).await;
    for row in &listed {
        let sql = format!("UPDATE pii_vault.login_events SET ip_token_a = repeat('x', 43) WHERE event_id = '{row}'");
        world.sql.batch_execute(&sql).await.unwrap();
        set_aside(&world, *row, "token_mismatch").await;
    }
    let broken = world.administer(&["cut-over"]).finish().exits(4).json();
    assert_eq!(broken["refused"], "token_mismatch");
    assert_eq!(world.token_states().await, "a active, b pending; a");
    let done = world.administer(&["cut-over", "--accept-mismatches"]).finish().done().json();
    assert_eq!(done["mismatched"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_differ_are_never_accepted() {
    for (column, value) in [("ip_token_b", "repeat('x', 43)"), ("device_id_token_b", "repeat('x', 43)")] {
        let world = filled().await;
        let row = rows(&world, 300).await[7];
        // A row of a group is apart from it; nobody listed it.
        let sql = format!("UPDATE pii_vault.login_events SET {column} = {value} WHERE event_id =
            (SELECT e.event_id FROM pii_vault.login_events AS e JOIN pii_vault.login_events AS o ON o.ip_token_a = e.ip_token_a
             AND o.event_id <> e.event_id ORDER BY e.event_id <> '{row}', e.event_id LIMIT 1)");
        world.sql.batch_execute(&sql).await.unwrap();
        let both = ["cut-over", "--accept-mismatches", "--accept-unopened"];
        assert_eq!(world.administer(&both).finish().exits(4).json()["refused"], "groups_differ");
        assert_eq!(world.token_states().await, "a active, b pending; a");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_cannot_replace_the_view_is_told_before_anything_is_done() {
    let world = filled().await;
    world.make_login(Who::Nobody).await;
    world.sql.batch_execute(&format!("GRANT pii_vault_owner TO nobody_{}", world.id)).await.unwrap();
    let args = ["key-rotation", "token-key", "cut-over", "--output", "json"];
    let refused = world.pii_vault(Who::Nobody, &args).finish().exits(3).json();
    assert_eq!(refused["refused"], "view");
    assert_eq!(world.slot_traces().await, ["device_id_token_a", "ip_token_a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_used_is_not_retired() {
    let world = filled().await;
    let sql = "SELECT id::text FROM pii_vault.token_keys ORDER BY slot";
    let keys: Vec<String> = world.sql.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    let unknown = Uuid::new_v4().to_string();
    let retire = ["retire", "--key", &keys[0], "--key", &keys[1], "--key", &unknown, "--reason", "a test"];
    let refused = world.administer(&retire).finish().exits(3).json();
    let became: Vec<_> =
        refused["keys"].as_array().unwrap().iter().map(|key| key["became"].as_str().unwrap()).collect();
    assert_eq!(became, ["in_use", "in_use", "unknown"]);
    world.administer(&["cut-over"]).finish().done();
    let mut finish = world.administer(&["finish", "--batch", "1", "--rate", "1/s"]);
    finish.wait_for_log("no indexes any more");
    let refused = world.administer(&["retire", "--reason", "too early"]).finish().exits(3).json();
    assert_eq!(refused["keys"], json!([{"key": keys[0], "became": "rows_left"}]));
    finish.kill();
    world.administer(&["finish"]).finish().done();
    let retired = world.administer(&["retire", "--key", &keys[0], "--reason", "rotated"]).finish().done().json();
    assert_eq!(retired["keys"], json!([{"key": keys[0], "became": "retired"}]));
    let again = world.administer(&["retire", "--key", &keys[0], "--reason", "rotated"]).finish().done().json();
    assert_eq!(again["keys"], json!([{"key": keys[0], "became": "retired_before"}]));
    let (_, details) = world.rotation_log().await.pop().unwrap();
    assert_eq!((&details["step"], &details["keys"]), (&json!("retire"), &json!([keys[0]])));
}

/// What the functions do is the administrator's, whoever has psql.
#[tokio::test(flavor = "multi_thread")]
async fn no_role_of_a_service_or_a_person_changes_places() {
    let world = filled().await;
    let job: Uuid = world.sql.query_one("SELECT id FROM pii_vault.rotation_jobs", &[]).await.unwrap().get(0);
    for who in [Who::Ingest, Who::Reseal, Who::Rewrap, Who::Officer, Who::Analyst, Who::Auditor] {
        let session = world.connect(who).await;
        for call in [
            format!("cut_over('{job}', NULL, '{{}}')"),
            format!("roll_back('{job}', 'x')"),
            format!("finish_rotation('{job}', 'x')"),
            format!("release_slot('{job}')"),
            "show_slot('b')".to_owned(),
            format!("empty_slot('{job}', '{job}', NULL, NULL, '2026-01-01', '{job}')"),
            format!("retire_token_key('{job}', 'x')"),
        ] {
            let code = sqlstate(&session, &format!("SELECT pii_vault.{call}")).await;
            assert_eq!(code.as_deref(), Some("42501"), "{who:?} {call}");
        }
    }
    // Not even the owner cuts over what the view does not show.
    let change: String = world
        .sql
        .query_one(&format!("SELECT pii_vault.cut_over('{job}', NULL, '{{}}')::text"), &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(change, "view_shows_other");
}
