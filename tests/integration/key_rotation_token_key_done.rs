//! `key-rotation token-key verify` once a rotation is done: what is left of the key that was given up.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Who, World};

async fn key(world: &World, condition: &str) -> Value {
    let sql = format!("SELECT id FROM pii_vault.token_keys WHERE {condition}");
    json!(world.sql.query_one(&sql, &[]).await.unwrap().get::<_, Uuid>(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_key_that_was_given_up_and_what_is_left_is_told() {
    let world = World::vault().await;
    world.import(60);
    let old = key(&world, "true").await;
    world.token_key(&["run", "--reason", "yearly"]).done();
    world.administer(&["cut-over"]).finish().done();
    world.administer(&["finish"]).finish().done();
    let new = key(&world, "state = 'active'").await;
    let found = world.token_key(&["verify"]).done().json();
    for (name, expected) in [
        ("verified", json!(true)),
        ("key", new.clone()),
        ("given_up", old.clone()),
        ("rows", json!(60)),
        ("of_given_up", json!(0)),
        ("sampled", json!(60)),
        ("wrong", json!([])),
    ] {
        assert_eq!(found[name], expected, "{name}: {found}");
    }
    assert_eq!(world.rotation_steps().await, ["start", "filled", "cut_over", "finish", "done", "sample"]);
    let human = world.pii_vault(Who::Reseal, &["key-rotation", "token-key", "verify"]).finish().done().stdout;
    let words = format!(
        "no row has tokens of key {}, and each has those of key {}",
        old.as_str().unwrap(),
        new.as_str().unwrap()
    );
    assert!(human.contains(&words), "{human}");

    // As one is left, in either slot; as it names a key that it should not; as its token is another value's.
    let row = "event_id = (SELECT min(event_id::text)::uuid FROM pii_vault.login_events)";
    for (set, of_given_up, without_key, of_other_keys, wrong) in [
        (format!("ip_token_a = ip_token_b, device_id_token_a = device_id_token_b, token_key_a = {old}"), 1, 0, 0, 0),
        (format!("token_key_b = {old}"), 1, 1, 0, 1),
        (format!("token_key_b = '{}'", Uuid::from_u128(9)), 0, 1, 1, 1),
        ("ip_token_b = repeat('x', 43)".to_owned(), 0, 0, 0, 1),
    ] {
        let set = set.replace('"', "'");
        let alter = format!(
            "CREATE TABLE public.kept AS SELECT * FROM pii_vault.login_events; UPDATE pii_vault.login_events SET {set} WHERE {row}"
        );
        world.sql.batch_execute(&alter).await.unwrap();
        let found = world.token_key(&["verify"]).exits(4).json();
        let told = ["of_given_up", "without_key", "of_other_keys"].map(|name| found[name].clone());
        assert_eq!(
            (told, found["wrong"].as_array().unwrap().len()),
            (json!([of_given_up, without_key, of_other_keys]).as_array().unwrap().clone().try_into().unwrap(), wrong),
            "{set}"
        );
        let human = world.pii_vault(Who::Reseal, &["key-rotation", "token-key", "verify"]).finish().exits(4).stdout;
        assert!(human.contains("not verified: ") && !human.contains("\nverified"), "{human}");
        let back = "DELETE FROM pii_vault.login_events; INSERT INTO pii_vault.login_events SELECT * FROM public.kept; DROP TABLE public.kept";
        world.sql.batch_execute(back).await.unwrap();
    }
    world.administer(&["retire", "--reason", "yearly"]).finish().done();
    world.token_key(&["verify", "--sample", "10"]).done();

    // Where it was rolled back, it is the new key that nothing is left of.
    world.token_key(&["run", "--reason", "again"]).done();
    assert!(world.token_key(&["verify"]).done().json()["given_up"].is_null(), "it is about the one under way");
    world.administer(&["rollback", "--reason", "x"]).finish().done();
    let found = world.token_key(&["verify"]).done().json();
    let given_up = key(&world, "state = 'decrypt-only'").await;
    assert_eq!((&found["verified"], &found["key"], &found["given_up"]), (&json!(true), &new, &given_up));
    world.pii_vault(Who::Auditor, &["audit", "verify"]).finish().done();
}
