//! The rule is the database's: what the role of re-sealing gets of a rotation of the token key, and is refused, with
//! raw SQL.

use std::time::Duration;

use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::{Who, World, sqlstate};

const DENIED: Option<&str> = Some("42501");
const RECORD: &str = "SELECT pii_vault.record_token_rotation(gen_random_uuid(), decode(repeat('ab', 100), 'hex'), \
     'arn:aws:kms:x', sha256('k'), 'why')";

/// The word that says why, else the SQLSTATE, else how many rows came.
async fn told(conn: &Client, sql: &str) -> String {
    match conn.query(sql, &[]).await {
        Ok(rows) => rows.len().to_string(),
        Err(error) => {
            let error = error.as_db_error().unwrap();
            error.constraint().unwrap_or(error.code().code()).to_owned()
        }
    }
}

async fn record(conn: &Client) -> Uuid {
    conn.query_one(RECORD, &[]).await.unwrap().get(0)
}

fn arm(job: Uuid) -> String {
    format!("SELECT pii_vault.arm_rotation('{job}', gen_random_uuid())")
}

fn fetch(job: Uuid) -> String {
    format!("SELECT * FROM pii_vault.fetch_backfill('{job}', NULL, NULL, 'infinity', '{}')", Uuid::max())
}

/// A page of one row, with tokens of nothing.
fn store(job: Uuid, event: Uuid) -> String {
    format!(
        "SELECT pii_vault.store_backfill('{job}', '{{2025-03-09}}', '{{{event}}}', ARRAY[repeat('i', 43)], \
         ARRAY[repeat('d', 43)])"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn no_table_gives_a_sealed_value_or_takes_a_token_and_no_other_role_rotates() {
    let world = World::vault().await;
    world.import(5);
    let reseal = world.connect(Who::Reseal).await;
    let job = record(&reseal).await;
    for sql in [
        "SELECT FROM pii_vault.login_events",
        "SELECT ip_token_a FROM pii_vault.login_events",
        "UPDATE pii_vault.login_events SET ip_token_a = NULL",
        "DELETE FROM pii_vault.login_events",
        "SELECT FROM user_logins",
        "SELECT FROM pii_vault.data_keys",
        "UPDATE pii_vault.token_keys SET state = 'active' WHERE state = 'pending'",
        "UPDATE pii_vault.token_keys SET optional = true",
        "DELETE FROM pii_vault.token_keys",
        "INSERT INTO pii_vault.token_keys (id) VALUES (gen_random_uuid())",
        "UPDATE pii_vault.rotation_jobs SET step = 'filled'",
        "DELETE FROM pii_vault.rotation_failures",
        "SELECT FROM pii_vault.rotation_handouts",
        "SELECT FROM pii_vault.audit_log",
        "SELECT pii_vault.require_token_key(gen_random_uuid())",
        "SELECT pii_vault.own_handout(gen_random_uuid())",
        "SELECT pii_vault.armed_handout(gen_random_uuid(), 'sample')",
        "SELECT pii_vault.record_handout(NULL, 'sample', 'x', '{}', NULL, NULL)",
        "SELECT pii_vault.filled_token_rotation(gen_random_uuid())",
        "SELECT pii_vault.note_rotation(NULL, 'x', 'x', '{}')",
        "SET ROLE pii_vault_owner",
    ] {
        assert_eq!(sqlstate(&reseal, sql).await.as_deref(), DENIED, "{sql}");
    }
    for who in [Who::Ingest, Who::Analyst, Who::Rewrap, Who::Officer, Who::Lookup, Who::Auditor] {
        let other = world.connect(who).await;
        for sql in
            [RECORD.to_owned(), fetch(job), store(job, Uuid::nil()), format!("SELECT pii_vault.token_report('{job}')")]
        {
            assert_eq!(sqlstate(&other, &sql).await.as_deref(), DENIED, "{who:?} {sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_for_a_committed_armed_rotation_that_is_at_work_and_no_filled_one_is_overwritten() {
    let world = World::vault().await;
    world.import(5);
    let reseal = world.connect(Who::Reseal).await;
    for begin in ["BEGIN", "BEGIN; SAVEPOINT s"] {
        reseal.batch_execute(begin).await.unwrap();
        let job = record(&reseal).await;
        assert_eq!(told(&reseal, &arm(job)).await, "unknown_rotation", "in the transaction that recorded it");
        reseal.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(told(&reseal, &fetch(job)).await, "unknown_rotation", "rolled back");
    }
    assert_eq!(world.count("pii_vault.token_keys").await, 1, "and so is the key");
    for wrong in
        [RECORD.replace("'why'", "' '"), RECORD.replace("'why'", "NULL"), RECORD.replace("sha256('k')", "'short'")]
    {
        assert!(["23514", "23502"].contains(&&*sqlstate(&reseal, &wrong).await.unwrap()), "{wrong}");
    }
    let job = record(&reseal).await;
    assert_eq!(told(&reseal, &fetch(job)).await, "not_armed");
    reseal.batch_execute("BEGIN").await.unwrap();
    assert_eq!(told(&reseal, &arm(job)).await, "1");
    assert_eq!(told(&reseal, &fetch(job)).await, "not_armed", "in the transaction that arms it");
    reseal.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(told(&reseal, &arm(job)).await, "1");
    for _ in 0..2 {
        assert_eq!(told(&reseal, &fetch(job)).await, "5");
    }
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        reseal.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}")).await.unwrap();
        assert_eq!(told(&reseal, &fetch(job)).await, "25000");
        reseal.batch_execute("ROLLBACK").await.unwrap();
    }
    let event: Uuid =
        world.sql.query_one("SELECT min(event_id::text)::uuid FROM pii_vault.login_events", &[]).await.unwrap().get(0);
    for (stored, why) in [(Some(1_i64), "it has none"), (Some(0), "it has one")] {
        let row = reseal.query_one(&store(job, event), &[]).await.unwrap();
        assert_eq!(row.get::<_, Option<i64>>(0), stored, "{why}");
    }
    assert_eq!(told(&reseal, &fetch(job)).await, "4");
    assert_eq!(told(&reseal, &store(job, event).replace("ARRAY[repeat('i', 43)]", "'{}'")).await, "22023");
    assert_eq!(
        told(&reseal, &store(job, event).replace("'i', 43", "'i', 42")).await,
        "1",
        "filled already, so not looked at"
    );

    world.sql.batch_execute("SELECT pii_vault.set_policy(NULL, NULL, NULL, NULL, 'required', 'x')").await.unwrap();
    assert_eq!(told(&reseal, &fetch(job)).await, "no_checkpoint");
    world.sql.batch_execute("SELECT pii_vault.set_policy(NULL, NULL, NULL, NULL, 'scheduled', 'x')").await.unwrap();
    // What was taken from the login is taken at once.
    world.sql.batch_execute(&format!("REVOKE pii_vault_reseal FROM reseal_{}", world.id)).await.unwrap();
    assert_eq!(told(&reseal, &fetch(job)).await, "42501");
    world.sql.batch_execute(&format!("GRANT pii_vault_reseal TO reseal_{}", world.id)).await.unwrap();
    world
        .sql
        .batch_execute("UPDATE pii_vault.token_keys SET state = 'decrypt-only' WHERE state = 'pending'")
        .await
        .unwrap();
    let row = reseal.query_one(&store(job, event), &[]).await.unwrap();
    assert_eq!(row.get::<_, Option<i64>>(0), None, "the key is not pending");
    world.sql.batch_execute("UPDATE pii_vault.rotation_jobs SET step = 'filled'").await.unwrap();
    assert_eq!(told(&reseal, &fetch(job)).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_rotation_begins_at_a_time_and_only_into_an_empty_slot() {
    let world = World::vault().await;
    world.import(5);
    let reseal = world.connect(Who::Reseal).await;
    // A batch holds the keys: it is waited for, some seconds.
    let ingest = world.connect(Who::Ingest).await;
    let old: Uuid = world.sql.query_one("SELECT id FROM pii_vault.token_keys", &[]).await.unwrap().get(0);
    ingest.batch_execute(&format!("BEGIN; SELECT pii_vault.hold_keys('{{}}', '{{}}', '{{{old}}}')")).await.unwrap();
    assert_eq!(told(&reseal, RECORD).await, "keys_are_held");
    assert_eq!(world.log("key_rotation").await.len(), 0);
    ingest.batch_execute("COMMIT").await.unwrap();

    world
        .sql
        .batch_execute("UPDATE pii_vault.login_events SET ip_token_b = ip_token_a, device_id_token_b = device_id_token_a, token_key_b = token_key_a WHERE event_id = (SELECT min(event_id::text)::uuid FROM pii_vault.login_events)")
        .await
        .unwrap();
    assert_eq!(told(&reseal, RECORD).await, "slot_in_use");
    world
        .sql
        .batch_execute(
            "UPDATE pii_vault.login_events SET ip_token_b = NULL, device_id_token_b = NULL, token_key_b = NULL",
        )
        .await
        .unwrap();
    let other = world.connect(Who::Reseal).await;
    let (one, two) = tokio::join!(told(&reseal, RECORD), told(&other, RECORD));
    assert!([("1", "unfinished_rotation"), ("unfinished_rotation", "1")].contains(&(&one, &two)), "{one} {two}");
    assert_eq!(told(&reseal, RECORD).await, "unfinished_rotation");
    assert_eq!(world.count("pii_vault.token_keys WHERE state = 'pending' AND slot = 'b'").await, 1);
}

/// A row that batches hold in turns is never free; a queue for a table comes to its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_begins_while_batches_follow_each_other_without_a_gap() {
    let world = World::vault().await;
    let old: Uuid = world.sql.query_one("SELECT id FROM pii_vault.token_keys", &[]).await.unwrap().get(0);
    let mut batches = tokio::task::JoinSet::new();
    for number in 0..6 {
        let ingest = world.connect(Who::Ingest).await;
        batches.spawn(async move {
            tokio::time::sleep(Duration::from_millis(number * 30)).await;
            loop {
                let hold = format!(
                    "BEGIN; SELECT pii_vault.hold_keys('{{}}', '{{}}', '{{{old}}}'); SELECT pg_sleep(0.2); COMMIT"
                );
                ingest.batch_execute(&hold).await.unwrap();
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let reseal = world.connect(Who::Reseal).await;
    let began = tokio::time::timeout(Duration::from_secs(3), told(&reseal, RECORD)).await;
    assert_eq!(began.as_deref(), Ok("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_go_out_for_a_committed_armed_fresh_record_of_the_same_login() {
    let world = World::vault().await;
    world.import(5);
    let reseal = world.connect(Who::Reseal).await;
    let job = record(&reseal).await;
    let make = format!("SELECT pii_vault.record_token_map('{job}', 'why')");
    assert_eq!(told(&reseal, &make).await, "not_filled");
    world
        .sql
        .batch_execute(
            "UPDATE pii_vault.login_events SET ip_token_b = reverse(ip_token_a), device_id_token_b = reverse(device_id_token_a), \
                 token_key_b = (SELECT new_key FROM pii_vault.rotation_jobs);
             UPDATE pii_vault.rotation_jobs SET step = 'filled'",
        )
        .await
        .unwrap();
    let map = async |conn: &Client| -> Uuid { conn.query_one(&make, &[]).await.unwrap().get(0) };
    let fetch = |map: Uuid| format!("SELECT * FROM pii_vault.fetch_token_map('{map}', 'ip', '', '')");
    let arm = |map: Uuid| format!("SELECT pii_vault.arm_handout('{map}')");
    for wrong in ["' '", "repeat('x', 1001)"] {
        assert_eq!(told(&reseal, &make.replace("'why'", wrong)).await, "22023", "{wrong}");
    }
    reseal.batch_execute("BEGIN").await.unwrap();
    let gone = map(&reseal).await;
    assert_eq!(told(&reseal, &arm(gone)).await, "unknown_handout", "in the transaction that recorded it");
    reseal.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(told(&reseal, &fetch(gone)).await, "unknown_handout");

    let map = map(&reseal).await;
    assert_eq!(told(&reseal, &fetch(map)).await, "not_armed");
    reseal.batch_execute("BEGIN").await.unwrap();
    assert_eq!(told(&reseal, &arm(map)).await, "1");
    assert_eq!(told(&reseal, &fetch(map)).await, "not_armed", "in the transaction that arms it");
    reseal.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(told(&reseal, &arm(map)).await, "1");
    assert_eq!(told(&reseal, &fetch(map)).await, "5");
    world.make_login(Who::Nobody).await;
    world.sql.batch_execute(&format!("GRANT pii_vault_reseal TO nobody_{}", world.id)).await.unwrap();
    let other = world.connect(Who::Nobody).await;
    other.batch_execute("SET ROLE pii_vault_reseal").await.unwrap();
    assert_eq!(told(&other, &fetch(map)).await, "unknown_handout", "another login's");
    let set = async |set: &str| {
        world.sql.batch_execute(&format!("UPDATE pii_vault.rotation_handouts SET {set}")).await.unwrap()
    };
    set("recorded_at = recorded_at - interval '1 hour'").await;
    assert_eq!(told(&reseal, &fetch(map)).await, "stale");
    set("recorded_at = clock_timestamp(), armed_at_lsn = 'FFFFFFFF/0'").await;
    assert_eq!(told(&reseal, &fetch(map)).await, "not_durable");
    set("armed_at_lsn = '0/1'").await;
    world.sql.batch_execute("SELECT pii_vault.set_policy(NULL, NULL, NULL, NULL, 'required', 'x')").await.unwrap();
    assert_eq!(told(&reseal, &fetch(map)).await, "no_checkpoint");
    world.sql.batch_execute("SELECT pii_vault.set_policy(NULL, NULL, NULL, NULL, 'scheduled', 'x')").await.unwrap();
    assert_eq!(told(&reseal, &fetch(map)).await, "5");
    world.sql.batch_execute("UPDATE pii_vault.rotation_jobs SET step = 'emptying'").await.unwrap();
    assert_eq!(told(&reseal, &fetch(map)).await, "not_filled");
}
