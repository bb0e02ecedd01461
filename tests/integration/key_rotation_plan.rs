//! `plan` of each kind of rotation: how much there is to do, and what was measured; nothing is changed.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Finished, Who, World};

fn plan(world: &World, who: Who, kind: &str, args: &[&str]) -> Finished {
    world.pii_vault(who, &[&["key-rotation", kind, "plan", "--output", "json"], args].concat()).finish()
}

async fn vault() -> World {
    let world = World::vault().await;
    world.send_logins(30).await;
    world.send(["{"]).await;
    world.drain(&[]);
    // One more data key, older than the first, with no rows.
    world
        .sql
        .batch_execute(
            "INSERT INTO pii_vault.data_keys (id, wrapped_key, kms_key, commitment, max_step, created_at, state)
             SELECT '00000000-0000-4000-8000-000000000007', repeat('x', 33)::bytea, 'arn:aws:kms:x:1:key/old',
                 repeat('x', 32)::bytea, 1, now() - interval '91 days', 'active'",
        )
        .await
        .unwrap();
    world
}

/// All that a plan must leave as it is.
async fn state(world: &World) -> String {
    let sql = "SELECT md5(string_agg(e::text, ',' ORDER BY e.event_id)) || (SELECT md5(string_agg(k::text, ',' ORDER BY k.id))
               FROM pii_vault.data_keys AS k) || (SELECT count(*) FROM pii_vault.audit_log)
               || (SELECT count(*) FROM pii_vault.rotation_jobs) FROM pii_vault.login_events AS e";
    world.sql.query_one(sql, &[]).await.unwrap().get(0)
}

fn told(plan: &Value) -> Value {
    let calls = ["decrypt", "generate_data_key", "re_encrypt"].map(|call| plan["kms_calls"][call].clone());
    json!([plan["kind"], plan["purpose"], plan["keys"], plan["rows"], calls])
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_is_counted_and_measured_and_nothing_changes() {
    let world = vault().await;
    let before = state(&world).await;
    let all = plan(&world, Who::Reseal, "data-key", &["--max-age", "0"]).done().json();
    assert_eq!(told(&all), json!(["data-key", "data", 2, 30, [1, 1, 0]]), "no key without rows is unwrapped");
    let old = plan(&world, Who::Reseal, "data-key", &["--max-age", "90d"]).done().json();
    assert_eq!(told(&old), json!(["data-key", "data", 1, 0, [0, 0, 0]]));
    let key: Uuid =
        world.sql.query_one("SELECT data_key_id FROM pii_vault.login_events LIMIT 1", &[]).await.unwrap().get(0);
    let named = ["--key", &key.to_string(), "--max-age", "90d", "--workers", "4", "--rate", "10/s", "--batch", "100"];
    let both = plan(&world, Who::Reseal, "data-key", &named).done().json();
    assert_eq!(told(&both), json!(["data-key", "data", 2, 30, [3, 1, 0]]), "three pages, by three workers");
    assert_eq!(both["seconds"], 3.0, "30 rows at 10 a second");
    let pace = &both["pace"];
    assert_eq!((&pace["workers"], &pace["batch"], &pace["rate_per_second"]), (&json!(4), &json!(10), &json!(10)));
    let sample = &all["sample"];
    assert_eq!((&sample["process_rows"], &sample["database_rows"]), (&json!(2000), &json!(30)));
    let each = |name: &str| sample[name].as_f64().unwrap();
    let (process, database) = (each("process_seconds_per_row"), each("database_seconds_per_row"));
    assert!(process > 0.0 && database > 0.0 && process < 0.1 && database < 0.1, "{sample}");
    let seconds = all["seconds"].as_f64().unwrap();
    assert!(seconds > 0.0 && seconds < 30.0 * (process + database), "two workers: {all:#}");

    let tokens = plan(&world, Who::Reseal, "token-key", &[]).done().json();
    assert_eq!(told(&tokens), json!(["token-key", "token", 1, 30, [3, 1, 0]]));
    let finish = tokens["finish_seconds"].as_f64().unwrap();
    assert!(finish > 0.0 && finish < tokens["seconds"].as_f64().unwrap(), "{tokens:#}");

    let of = |purpose: &str, args: &[&str]| {
        told(&plan(&world, Who::Rewrap, "kek", &[&["--purpose", purpose], args].concat()).done().json())
    };
    assert_eq!(of("data", &["--newest-material"]), json!(["kek", "data", 2, 0, [0, 0, 2]]));
    // The KMS key that is set wraps one of the two already.
    assert_eq!(of("data", &[]), json!(["kek", "data", 1, 0, [0, 0, 1]]));
    let moved =
        plan(&world, Who::Rewrap, "kek", &["--purpose", "data", "--to", &world.kms_key("token"), "--rate", "1"]);
    let moved = moved.done().json();
    assert_eq!((told(&moved), &moved["seconds"]), (json!(["kek", "data", 2, 0, [0, 0, 2]]), &json!(2.0)));
    assert!(moved["target"].as_str().unwrap().starts_with("arn:"), "{moved:#}");
    assert!(moved["kms_seconds_per_call"].as_f64().unwrap() > 0.0, "{moved:#}");
    assert_eq!(of("dead-letter", &["--newest-material"]), json!(["kek", "dead-letter", 1, 0, [0, 0, 1]]));
    world.past_triggers("UPDATE pii_vault.data_keys SET state = 'retired' WHERE kms_key LIKE '%old'").await;
    assert_eq!(of("data", &["--newest-material"]), json!(["kek", "data", 1, 0, [0, 0, 1]]));
    assert_eq!(told(&plan(&world, Who::Reseal, "data-key", &["--max-age", "0"]).done().json())[2], 1);
    world.past_triggers("UPDATE pii_vault.data_keys SET state = 'active' WHERE kms_key LIKE '%old'").await;
    assert_eq!(state(&world).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_what_it_assumes_and_needs_to_know() {
    let world = vault().await;
    let human =
        world.pii_vault(Who::Reseal, &["key-rotation", "data-key", "plan", "--max-age", "0"]).finish().done().stdout;
    for line in [
        "data-key rotation of data keys\n",
        "rows          30\n",
        "KMS calls     1 Decrypt, 1 GenerateDataKey, 0 ReEncrypt\n",
        "time          about 0 s\n",
        "assumed       2 workers on ",
        "nothing was changed\n",
    ] {
        assert!(human.contains(line), "{line}: {human}");
    }
    plan(&world, Who::Reseal, "data-key", &[]).exits(2);
    // The words of `run`.
    let key = Uuid::nil().to_string();
    for (who, kind, args) in
        [(Who::Reseal, "data-key", &["--key", &key][..]), (Who::Rewrap, "kek", &["--purpose", "data", "--key", &key])]
    {
        let planned = plan(&world, who, kind, args).exits(2).stderr;
        let run = ["key-rotation", kind, "run", "--reason", "x"];
        let ran = world.pii_vault(who, &[&run[..], args].concat()).finish().exits(2).stderr;
        let said = "is no data key, or is retired; `pii-vault key-rotation status --keys --purpose data` lists them";
        assert!(planned.contains(said) && ran.contains(said), "{planned}{ran}");
    }
    plan(&world, Who::Reseal, "token-key", &["--key", &key]).exits(3);
    let unknown = plan(&world, Who::Rewrap, "kek", &["--purpose", "data", "--to", "alias/x"]).exits(1);
    assert!(unknown.stderr.contains("ReEncrypt"), "{}", unknown.stderr);
    for (who, kind, args) in [
        (Who::Rewrap, "data-key", &["--max-age", "0"][..]),
        (Who::Auditor, "token-key", &[]),
        (Who::Reseal, "kek", &["--purpose", "data", "--newest-material"]),
    ] {
        let refused = plan(&world, who, kind, args).exits(1);
        assert!(refused.stderr.contains("pii_vault_re"), "{}", refused.stderr);
    }
    // Rows that somebody has locked are passed over, and who has no rows has no sample.
    let holder = world.superuser().await;
    holder.batch_execute("BEGIN; SELECT FROM pii_vault.login_events FOR UPDATE").await.unwrap();
    let locked = plan(&world, Who::Reseal, "token-key", &[]).done().json();
    assert_eq!((&locked["sample"]["database_rows"], &locked["rows"]), (&json!(0), &json!(30)));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_token_key_it_tells_what_is_left_and_writes_only_where_something_is() {
    let world = vault().await;
    let written = async || -> i64 {
        world.sql.batch_execute("SELECT pg_stat_clear_snapshot()").await.unwrap();
        let sql = "SELECT coalesce(sum(n_dead_tup + n_tup_upd), 0)::bigint FROM pg_stat_user_tables
                   WHERE relname LIKE 'login_events%'";
        world.sql.query_one(sql, &[]).await.unwrap().get(0)
    };
    let before = written().await;
    let none = plan(&world, Who::Reseal, "token-key", &["--max-age", "90d"]).done().json();
    assert_eq!(told(&none), json!(["token-key", "token", 0, 0, [0, 0, 0]]));
    assert_eq!(json!([none["sample"], none["seconds"], none["finish_seconds"]]), json!([null, 0.0, 0.0]));
    assert_eq!(written().await, before, "no sample is written where nothing is due");

    world.token_key(&["run", "--reason", "x"]).done();
    world.past_triggers("UPDATE pii_vault.rotation_jobs SET step = 'work', changed = 18, failed = 2").await;
    let half = plan(&world, Who::Reseal, "token-key", &[]).done().json();
    assert_eq!(told(&half), json!(["token-key", "token", 1, 10, [3, 0, 0]]));
    assert!(half["assumed"][0].as_str().unwrap().ends_with("is under way: this is what is left of it"), "{half:#}");
    world.past_triggers("UPDATE pii_vault.rotation_jobs SET step = 'filled', changed = 30, failed = 0").await;
    assert_eq!(told(&plan(&world, Who::Reseal, "token-key", &[]).done().json())[3], 0);
    world.administer(&["cut-over"]).finish().done();
    let over = plan(&world, Who::Reseal, "token-key", &[]).exits(3).json();
    assert_eq!(over["refused"], "unfinished_rotation");
}
