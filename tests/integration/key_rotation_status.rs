//! `key-rotation status`: the keys, what is under each, and how far rotations are.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::jobs::{begin, begin_reseal, note};
use crate::support::{Finished, Who, World};

fn status(world: &World, who: Who, args: &[&str]) -> Finished {
    world.pii_vault(who, &[&["key-rotation", "status"], args].concat()).finish()
}

fn json_of(world: &World, args: &[&str]) -> Value {
    status(world, Who::Reseal, &[&["--output", "json"], args].concat()).done().json()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_counted_with_what_is_under_them() {
    let world = World::vault().await;
    world.send_logins(20).await;
    world.send(["{"]).await;
    world.drain(&[]);
    world.allow_raw_events().await;
    world.add_raw_events("2026-01-01", 1).await;
    let groups = |status: &Value| {
        let groups = status["keys"].as_array().unwrap().iter();
        let told = ["purpose", "state", "slot", "keys", "unused", "rows", "values"];
        groups.map(|group| Value::from_iter(told.map(|name| group[name].clone()))).collect::<Vec<_>>()
    };
    let expected = [
        json!(["data", "active", null, 1, 0, 20, 40]),
        json!(["data", "missing", null, 1, 0, 1, 2]),
        json!(["token", "active", "a", 1, 0, 20, 40]),
        json!(["token", "missing", null, 1, 0, 1, 2]),
        json!(["dead-letter", "active", null, 1, 0, 1, 1]),
    ];
    for who in [Who::Reseal, Who::Rewrap, Who::Auditor, Who::Administrator] {
        let found = status(&world, who, &["--output", "json"]).done().json();
        assert_eq!(groups(&found), expected, "{who:?}");
        assert_eq!((&found["rotations"], &found["done"]), (&json!([]), &json!([])));
        assert!(found["keys"][0]["kms_key"].as_str().unwrap().starts_with("arn:"), "{found}");
    }
    for who in [Who::Officer, Who::Ingest] {
        let refused = status(&world, who, &[]).exits(1);
        assert!(refused.stderr.contains("pii_vault_reseal, pii_vault_rewrap, pii_vault_auditor"), "{}", refused.stderr);
    }
    let uncounted = json_of(&world, &["--no-rows"]);
    assert_eq!(groups(&uncounted)[0], json!(["data", "active", null, 1, null, null, null]));
    // A second one, older and unused, and no state that it shares with the first.
    world
        .sql
        .batch_execute(
            "INSERT INTO pii_vault.data_keys (id, wrapped_key, kms_key, commitment, max_step, created_at, state)
             SELECT gen_random_uuid(), repeat('x', 33)::bytea, 'k', repeat('x', 32)::bytea, 1, now() - interval '91 days', s.state
             FROM (VALUES ('decrypt-only'::pii_vault.key_state), ('decrypt-only')) AS s (state)",
        )
        .await
        .unwrap();
    assert_eq!(groups(&json_of(&world, &[]))[1], json!(["data", "decrypt-only", null, 2, 2, 0, 0]));
    let human = status(&world, Who::Reseal, &[]).done().stdout;
    let line = human.lines().find(|line| line.contains("decrypt-only")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>().join(" "), "data decrypt-only 2 2 91 d 0 0 0 k");
    assert!(human.contains("token (slot a)") && human.ends_with("no rotation is under way\n"), "{human}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_is_shown_with_how_far_and_how_fast_it_is() {
    let world = World::vault().await;
    world.allow_raw_rotations().await;
    let reseal = world.connect(Who::Reseal).await;
    let (key, runner) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let job = begin_reseal(&reseal, &[key], 10).await;
    let begun = json_of(&world, &[])["rotations"][0].clone();
    for (name, expected) in [
        ("job", json!(job.to_string())),
        ("kind", json!("data-key")),
        ("step", json!("work")),
        ("percent", json!(0.0)),
        ("rate_per_second", Value::Null),
        ("eta_seconds", Value::Null),
        ("runners", json!(0)),
        ("began_by", json!(format!("reseal_{}", world.id))),
        ("reason", json!("too old")),
        ("old_keys", json!(1)),
        ("next", json!("pii-vault key-rotation data-key run")),
    ] {
        assert_eq!(begun[name], expected, "{name}: {begun:#}");
    }
    let human = status(&world, Who::Reseal, &[]).done().stdout;
    assert!(human.contains("  step      work, but nobody works on it: no runner was seen for a minute\n"), "{human}");
    // Four are changed and two passed over.
    reseal.execute("SELECT pii_vault.arm_rotation($1, $2)", &[&job, &runner]).await.unwrap();
    let sql = "SELECT pii_vault.settle_rotation($1, $2, 4, '{2026-01-01,2026-01-02}', ARRAY[$3, $4]::uuid[],
                   ARRAY[$5, $5]::uuid[], '{not_authentic,key_missing}')";
    let (first, second) = (Uuid::from_u128(11), Uuid::from_u128(10));
    reseal.execute(sql, &[&job, &runner, &first, &second, &key]).await.unwrap();
    let at_work = json_of(&world, &[])["rotations"][0].clone();
    assert_eq!((&at_work["percent"], &at_work["runners"], &at_work["failed"]), (&json!(60.0), &json!(1), &json!(2)));
    let (rate, eta) = (at_work["rate_per_second"].as_f64().unwrap(), at_work["eta_seconds"].as_f64().unwrap());
    assert!(rate > 0.0 && (rate * eta - 4.0).abs() < 0.001, "{at_work:#}");
    assert!(at_work["next"].is_null(), "{at_work:#}");
    let human = status(&world, Who::Rewrap, &[]).done().stdout;
    assert!(human.contains("  progress  60.0 %: 4 of 10 rows changed, 2 passed over\n"), "{human}");
    assert!(human.contains("  step      work\n"), "{human}");
    assert!(human.contains("/s, ") && human.contains("  runners   1; last worked on "), "{human}");

    reseal.execute("SELECT pii_vault.pause_rotation($1, 'at night')", &[&job]).await.unwrap();
    let paused = json_of(&world, &[])["rotations"][0].clone();
    assert_eq!(
        (&paused["paused"], &paused["pause_reason"], &paused["eta_seconds"]),
        (&json!(true), &json!("at night"), &Value::Null)
    );
    assert_eq!(paused["paused_by"], format!("reseal_{}", world.id));
    let human = status(&world, Who::Auditor, &[]).done().stdout;
    assert!(human.contains("  step      work, paused since ") && human.contains(": at night\n"), "{human}");

    // Page by page, in the order of days.
    let failures = |args: &[&str]| {
        let one = json_of(&world, &[&["--job", &job.to_string()], args].concat());
        let rows = one["passed_over"].as_array().unwrap().iter();
        let told: Vec<_> =
            rows.map(|row| format!("{} {} {}", row["day"], row["id"], row["why"]).replace('"', "")).collect();
        (told, one["next_after"].clone())
    };
    let of_first = format!("2026-01-01 {first} not_authentic");
    let of_second = format!("2026-01-02 {second} key_missing");
    assert_eq!(failures(&[]), (vec![of_first.clone(), of_second.clone()], Value::Null));
    let (page, after) = failures(&["--limit", "1"]);
    assert_eq!((page, &after), (vec![of_first], &json!(format!("2026-01-01/{first}"))));
    assert_eq!(failures(&["--limit", "1", "--after", after.as_str().unwrap()]), (vec![of_second], Value::Null));
    let one = json_of(&world, &["--job", &job.to_string()]);
    let steps: Vec<_> = one["history"].as_array().unwrap().iter().map(|step| step["step"].clone()).collect();
    assert_eq!(steps, ["start", "pause"]);
    let human = status(&world, Who::Administrator, &["--job", &job.to_string(), "--limit", "1"]).done().stdout;
    assert!(human.contains("not_authentic") && !human.contains("key_missing"), "{human}");
    assert!(human.ends_with(&format!("there is more: --after 2026-01-01/{first}\n")), "{human}");

    note(&reseal, job, "done", "done").await;
    let done = json_of(&world, &[]);
    assert_eq!((&done["rotations"], &done["done"][0]["percent"]), (&json!([]), &json!(100.0)));
    let human = status(&world, Who::Reseal, &[]).done().stdout;
    assert!(human.contains("data-key of data keys: 4 of 10 rows changed, 2 passed over, by reseal_"), "{human}");
    let unknown = status(&world, Who::Reseal, &["--job", &key.to_string()]).exits(1);
    assert!(unknown.stderr.contains("there is no rotation"), "{}", unknown.stderr);
    status(&world, Who::Reseal, &["--after", "2026-01-01"]).exits(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_of_a_token_key_says_what_comes_next() {
    let world = World::vault().await;
    world.allow_raw_rotations().await;
    let reseal = world.connect(Who::Reseal).await;
    let job = json!({"kind": "token-key", "purpose": "token", "reason": "leaked", "total": 0,
        "old_keys": [Uuid::from_u128(1)], "new_key": Uuid::from_u128(2), "old_slot": "a"});
    let job = begin(&reseal, &job).await;
    let run = "pii-vault key-rotation token-key";
    for (word, step, next) in [
        ("resume", "work", format!("{run} run")),
        ("filled", "filled", format!("{run} verify, then {run} cut-over")),
        ("cut_over", "cut_over", format!("{run} finish, or back: {run} rollback")),
        ("finish", "emptying", format!("{run} finish")),
    ] {
        note(&reseal, job, word, step).await;
        let shown = json_of(&world, &[])["rotations"][0].clone();
        assert_eq!((&shown["step"], &shown["next"]), (&json!(step), &json!(next)));
    }
}
