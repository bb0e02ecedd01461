//! `key-rotation status --keys`: the ids that `--key` takes.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Finished, Who, World};

fn listed(world: &World, who: Who, args: &[&str]) -> Finished {
    world.pii_vault(who, &[&["key-rotation", "status", "--keys"], args].concat()).finish()
}

fn json_of(world: &World, args: &[&str]) -> Value {
    listed(world, Who::Reseal, &[&["--output", "json"], args].concat()).done().json()
}

fn told(listed: &Value, names: &[&str]) -> Vec<Value> {
    let keys = listed["keys"].as_array().unwrap().iter();
    keys.map(|key| names.iter().map(|name| key[*name].clone()).collect()).collect()
}

async fn id(world: &World, sql: &str) -> String {
    world.sql.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_key_is_listed_with_what_is_under_it_and_its_id_can_be_named() {
    let world = World::vault().await;
    world.send_logins(20).await;
    world.send(["{"]).await;
    world.drain(&[]);
    let (old, sql) = (Uuid::from_u128(7).to_string(), |table| format!("SELECT id::text FROM pii_vault.{table}"));
    let [data, token, letter] = [
        id(&world, &sql("data_keys")).await,
        id(&world, &sql("token_keys")).await,
        id(&world, &sql("dead_letter_keys")).await,
    ];
    let insert = format!(
        "INSERT INTO pii_vault.data_keys
             (id, wrapped_key, kms_key, commitment, max_step, created_at, wrapped_at, state)
         VALUES ('{old}', repeat('x', 33)::bytea, 'k', repeat('x', 32)::bytea, 1, now() - interval '91 days',
             now() - interval '3 days', 'decrypt-only')"
    );
    world.sql.batch_execute(&insert).await.unwrap();
    let missing = Uuid::from_u128(9).to_string();
    world
        .past_triggers(&format!(
            "UPDATE pii_vault.login_events SET data_key_id = '{missing}'
         WHERE event_id = (SELECT min(event_id::text)::uuid FROM pii_vault.login_events)"
        ))
        .await;

    let columns = ["id", "purpose", "state", "slot", "rows", "set_aside"];
    let expected = [
        json!([missing, "data", "missing", null, 1, 0]),
        json!([data, "data", "active", null, 19, 0]),
        json!([old, "data", "decrypt-only", null, 0, 0]),
        json!([token, "token", "active", "a", 20, null]),
        json!([letter, "dead-letter", "active", null, 1, null]),
    ];
    for who in [Who::Reseal, Who::Rewrap, Who::Auditor, Who::Administrator] {
        let all = listed(&world, who, &["--output", "json"]).done().json();
        assert_eq!((told(&all, &columns), &all["has_more"]), (expected.to_vec(), &json!(false)), "{who:?}");
    }
    listed(&world, Who::Officer, &[]).exits(1);
    for (purpose, of) in [("data", &expected[..3]), ("token", &expected[3..4]), ("dead-letter", &expected[4..])] {
        assert_eq!(told(&json_of(&world, &["--purpose", purpose]), &columns), of, "{purpose}");
    }
    let of_data = json_of(&world, &["--purpose", "data", "--limit", "2"]);
    assert_eq!((told(&of_data, &columns), &of_data["has_more"]), (expected[..2].to_vec(), &json!(true)));
    let uncounted = json_of(&world, &["--no-rows", "--purpose", "data"]);
    assert_eq!(told(&uncounted, &["id", "rows"]), [json!([data, null]), json!([old, null])]);
    let days = |name: &str| -> String { json_of(&world, &[])["keys"][2][name].as_str().unwrap()[..10].to_owned() };
    let ago = async |days: i32| {
        id(&world, &format!("SELECT to_char(now() AT TIME ZONE 'UTC' - interval '{days} days', 'YYYY-MM-DD')")).await
    };
    assert_eq!([days("created_at"), days("wrapped_at")], [ago(91).await, ago(3).await]);
    assert_eq!(json_of(&world, &[])["keys"][2]["age_seconds"].as_i64().unwrap() / 86_400, 91);

    let human = listed(&world, Who::Reseal, &["--limit", "3"]).done().stdout;
    let line = human.lines().find(|line| line.starts_with(&old)).unwrap();
    let cells: Vec<_> = line.split_whitespace().collect();
    assert_eq!((&cells[1..5], &cells[7..]), (&["data", "decrypt-only", "91", "d"][..], &["0", "0", "k"][..]), "{line}");
    assert!(human.ends_with("there are more: --limit N shows them, --purpose those of one kind alone\n"), "{human}");
    for wrong in [&["--job", &old][..], &["--purpose", "log"], &["--after", "2026-01-01/x"]] {
        listed(&world, Who::Reseal, wrong).exits(2);
    }
    world.pii_vault(Who::Reseal, &["key-rotation", "status", "--purpose", "data"]).finish().exits(2);

    // What is listed can be named.
    let retired = world.data_key(&["retire", "--key", &old, "--reason", "x"]).done().json();
    assert_eq!(retired["keys"][0]["state"], "retired");
}

/// Thousands of them are no more than a page.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_keys_the_newest_are_listed() {
    let world = World::vault().await;
    world
        .sql
        .batch_execute(
            "INSERT INTO pii_vault.data_keys (id, wrapped_key, kms_key, commitment, max_step, created_at, state)
             SELECT lpad(n::text, 32, '0')::uuid, repeat('x', 33)::bytea, 'k', repeat('x', 32)::bytea, 1,
                 now() - n * interval '1 hour', 'decrypt-only' FROM generate_series(1, 5000) AS n",
        )
        .await
        .unwrap();
    let page = json_of(&world, &["--purpose", "data"]);
    let ids: Vec<_> = (1..=100).map(|n| json!([format!("00000000-0000-0000-0000-{n:012}")])).collect();
    assert_eq!((told(&page, &["id"]), &page["has_more"]), (ids, &json!(true)));
    let all = json_of(&world, &["--purpose", "data", "--limit", "5000"]);
    assert_eq!((all["keys"].as_array().unwrap().len(), &all["has_more"]), (5000, &json!(false)));
}
