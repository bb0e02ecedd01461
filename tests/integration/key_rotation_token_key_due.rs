//! Which token key `key-rotation token-key run` leaves, and whether now.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Who, World, sqlstate};

fn calls(plan: &Value) -> Value {
    json!([plan["keys"], plan["rows"], plan["kms_calls"]["decrypt"], plan["kms_calls"]["generate_data_key"]])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_left_once_it_is_old_or_named() {
    let world = World::vault().await;
    world.import(5);
    let old: Uuid = world.sql.query_one("SELECT id FROM pii_vault.token_keys", &[]).await.unwrap().get(0);
    let (old, other) = (old.to_string(), Uuid::from_u128(9).to_string());
    let young = ["run", "--max-age", "90d", "--reason", "quarterly"];
    assert_eq!(world.token_key(&young).done().json(), json!({"job": null, "ended": "nothing to do"}));
    let human = [&["key-rotation", "token-key"], &young[..]].concat();
    let human = world.pii_vault(Who::Reseal, &human).finish().done().stdout;
    assert_eq!(human, "nothing to do: the token key was made no longer ago than that\n");
    let named = |key: &str| world.token_key(&["run", "--key", key, "--max-age", "90d", "--reason", "a leak"]);
    assert_eq!(named(&other).exits(3).json()["refused"], "not_the_active_key");
    // Also where it stopped being that since somebody looked.
    let record = |more: &str| {
        format!(
            "SELECT pii_vault.record_token_rotation(gen_random_uuid(), decode(repeat('ab', 100), 'hex'), 'arn:aws:kms:x', \
             sha256('k'), 'why', {more})"
        )
    };
    let reseal = world.connect(Who::Reseal).await;
    assert_eq!(sqlstate(&reseal, &record(&format!("'{other}', '0'"))).await.as_deref(), Some("55000"));
    let none = reseal.query_one(&record("NULL, '90 days'"), &[]).await.unwrap();
    assert_eq!(none.get::<_, Option<Uuid>>(0), None);
    assert_eq!(sqlstate(&reseal, &record("NULL, '-1 day'")).await.as_deref(), Some("22023"));
    assert_eq!((world.log("key_rotation").await.len(), world.count("pii_vault.token_keys").await), (0, 1));

    let plan = |args: &[&str]| world.token_key(&[&["plan"], args].concat());
    assert_eq!(calls(&plan(&["--max-age", "90d"]).done().json()), json!([0, 0, 0, 0]));
    assert_eq!(calls(&plan(&["--key", &old, "--max-age", "90d"]).done().json()), json!([1, 5, 3, 1]));
    assert_eq!(plan(&["--key", &other]).exits(3).json()["refused"], "not_the_active_key");

    let begun = named(&old).done().json();
    assert_eq!((&begun["ended"], &begun["changed"]), (&json!("filled"), &json!(5)));
    let start = &world.log("key_rotation").await[0]["details"];
    assert_eq!((&start["named"], &start["max_age"]), (&json!([old]), &json!(7_776_000)));
    // What is under way goes on, and no other in its place.
    let again = named(&old).done();
    assert!(!again.stderr.contains("goes on"), "{}", again.stderr);
    let refused = named(&other).exits(3).json();
    assert_eq!(refused["refused"], "rotation_unfinished");
    assert!(refused["because"].as_str().unwrap().contains(&other), "{refused}");
    world.administer(&["cut-over"]).finish().done();
    let refused = named(&old).exits(3).json();
    assert_eq!(refused["refused"], "unfinished_rotation");
    assert!(refused["next"].as_str().unwrap().contains("token-key finish gives the old key up"), "{refused}");
    world.administer(&["finish"]).finish().done();
    world.past_triggers("UPDATE pii_vault.token_keys SET created_at = now() - interval '91 days'").await;
    assert_eq!(world.token_key(&["run", "--max-age", "92d", "--reason", "x"]).done().json()["job"], Value::Null);
    assert_eq!(world.token_key(&young).done().json()["ended"], "filled");
    let start = &world.log("key_rotation").await[5]["details"];
    assert_eq!((&start["step"], &start["named"], &start["max_age"]), (&json!("start"), &json!([]), &json!(7_776_000)));
    world.pii_vault(Who::Auditor, &["audit", "verify"]).finish().done();
}
