//! The rule is the database's: what the role of look-ups gets, and is refused, with raw SQL.

use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::{Who, World, sqlstate};

const DENIED: Option<&str> = Some("42501");
const RECORD: &str = "SELECT pii_vault.record_lookup('ip', 1, 'why', 'C-1')";

async fn vault_with_policy() -> World {
    let world = World::vault().await;
    world.sql.batch_execute("SELECT pii_vault.set_policy(NULL, NULL, NULL, NULL, NULL, 'x')").await.unwrap();
    world
}

async fn record(conn: &Client) -> Uuid {
    conn.query_one(RECORD, &[]).await.unwrap().get(0)
}

async fn arm(conn: &Client, receipt: Uuid) -> Option<String> {
    sqlstate(conn, &format!("SELECT * FROM pii_vault.arm_receipt('{receipt}')")).await
}

/// How many keys came, or the word or the code with which they were refused.
async fn fetch(conn: &Client, receipt: Uuid) -> Result<usize, String> {
    let rows = conn.query(&format!("SELECT * FROM pii_vault.fetch_token_keys('{receipt}')"), &[]).await;
    rows.map(|rows| rows.len()).map_err(|error| {
        let error = error.as_db_error().unwrap();
        error.constraint().map_or(error.code().code(), |word| word).to_owned()
    })
}

fn refused<T>(word: &str) -> Result<T, String> {
    Err(word.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_gives_a_token_key_but_the_function() {
    let world = vault_with_policy().await;
    let lookup = world.connect(Who::Lookup).await;
    record(&lookup).await;
    for sql in [
        "SELECT FROM pii_vault.token_keys",
        "SELECT wrapped_key FROM pii_vault.token_keys",
        "SELECT FROM pii_vault.data_keys",
        "SELECT FROM pii_vault.login_events",
        "SELECT FROM user_logins",
        "SELECT FROM pii_vault.vault",
        "SELECT FROM pii_vault.receipts",
        "SELECT FROM pii_vault.audit_log",
        "UPDATE pii_vault.receipts SET recorded_at = clock_timestamp()",
        "INSERT INTO pii_vault.receipts (id) VALUES (gen_random_uuid())",
        "SELECT pii_vault.own_receipt(gen_random_uuid())",
        "SELECT pii_vault.fetch_unmask(gen_random_uuid(), 0)",
        "SELECT pii_vault.record_unmask('{ip}', '{}', '{}', '{}', '{}', NULL, NULL, 'x', 'C-1', NULL, false)",
        "SELECT pii_vault.set_policy(NULL, NULL, NULL, NULL, NULL, 'x')",
        "SET ROLE pii_vault_owner",
    ] {
        assert_eq!(sqlstate(&lookup, sql).await.as_deref(), DENIED, "{sql}");
    }
    for who in [Who::Ingest, Who::Analyst, Who::Redrive, Who::Officer, Who::Approver, Who::Auditor] {
        let other = world.connect(who).await;
        for sql in [RECORD, "SELECT pii_vault.fetch_token_keys(gen_random_uuid())"] {
            assert_eq!(sqlstate(&other, sql).await.as_deref(), DENIED, "{who:?} {sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_comes_for_a_receipt_of_ones_own_that_is_committed_armed_and_fresh() {
    let world = vault_with_policy().await;
    let (one, two) = (world.connect(Who::Lookup).await, world.connect(Who::Lookup).await);
    let receipt = record(&one).await;
    assert_eq!(fetch(&one, receipt).await, refused("not_armed"));
    one.batch_execute("BEGIN").await.unwrap();
    assert_eq!(arm(&one, receipt).await, None);
    assert_eq!(fetch(&one, receipt).await, refused("not_armed"), "in the transaction that arms it");
    one.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(fetch(&one, receipt).await, refused("not_armed"), "rolled back");
    assert_eq!((arm(&one, receipt).await, fetch(&one, receipt).await), (None, Ok(1)));
    assert_eq!(fetch(&two, receipt).await, Ok(1), "another session of the same login");
    world.past_triggers("UPDATE pii_vault.token_keys SET state = 'retired'").await;
    assert_eq!(fetch(&one, receipt).await, Ok(0), "the active key alone");
    world.past_triggers("UPDATE pii_vault.token_keys SET state = 'active'").await;

    // Of another login with the role, of an unmask, and of nobody.
    world.make_login(Who::Nobody).await;
    world.sql.batch_execute(&format!("GRANT pii_vault_lookup TO nobody_{}", world.id)).await.unwrap();
    let other = world.connect(Who::Nobody).await;
    other.batch_execute("SET ROLE pii_vault_lookup").await.unwrap();
    for foreign in [receipt, Uuid::nil()] {
        assert_eq!((arm(&other, foreign).await.as_deref(), fetch(&other, foreign).await), (DENIED, refused("42501")));
    }
    assert!(other.query("SELECT * FROM pii_vault.fetch_token_keys(NULL)", &[]).await.unwrap().is_empty());
    let changed = "UPDATE pii_vault.receipts SET kind = 'unmask'";
    world.sql.batch_execute(changed).await.unwrap();
    assert_eq!(fetch(&one, receipt).await, refused("42501"), "a receipt to unmask, of who may not");
    world.sql.batch_execute(&changed.replace("unmask", "lookup")).await.unwrap();

    for (change, word) in [
        ("recorded_at = recorded_at - interval '10 minutes'", "stale"),
        ("recorded_at = clock_timestamp(), armed_at_lsn = 'FFFFFFFF/0'", "not_durable"),
        ("armed_at_lsn = NULL, armed_by = NULL", "not_armed"),
    ] {
        world.sql.batch_execute(&format!("UPDATE pii_vault.receipts SET {change}")).await.unwrap();
        assert_eq!(fetch(&one, receipt).await, refused(word));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_comes_for_a_record_that_is_not_committed() {
    let world = vault_with_policy().await;
    let (one, two) = (world.connect(Who::Lookup).await, world.connect(Who::Lookup).await);
    for begin in ["BEGIN", "BEGIN; SAVEPOINT s"] {
        one.batch_execute(begin).await.unwrap();
        let receipt = record(&one).await;
        assert_eq!(arm(&two, receipt).await.as_deref(), DENIED, "another session does not see it");
        assert_eq!(arm(&one, receipt).await.as_deref(), DENIED, "{begin}");
        one.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!((arm(&one, receipt).await.as_deref(), fetch(&one, receipt).await), (DENIED, refused("42501")));
    }
    one.batch_execute("BEGIN; SAVEPOINT s").await.unwrap();
    let gone = record(&one).await;
    one.batch_execute("ROLLBACK TO s; COMMIT").await.unwrap();
    assert_eq!((arm(&one, gone).await.as_deref(), fetch(&one, gone).await), (DENIED, refused("42501")));
    let receipt = record(&one).await;
    arm(&one, receipt).await;
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        one.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}")).await.unwrap();
        assert_eq!(fetch(&one, receipt).await, refused("25000"));
        one.batch_execute("ROLLBACK").await.unwrap();
    }
    assert_eq!(world.log("lookup").await.len(), 1, "what was rolled back is not in the log, and gave nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_recorded_once_as_many_as_were_said_and_in_their_form() {
    let world = vault_with_policy().await;
    let lookup = world.connect(Who::Lookup).await;
    let receipt = record(&lookup).await;
    let settle = |tokens: &str| format!("SELECT pii_vault.settle_lookup('{receipt}', {tokens})");
    let token = "ARRAY[repeat('t', 43)]";
    assert_eq!(sqlstate(&lookup, &settle(token)).await.as_deref(), Some("22023"), "not armed");
    assert_eq!(arm(&lookup, receipt).await, None);
    for wrong in ["'{}'", "'{short}'", "'{NULL}'", "ARRAY[repeat('t', 43), repeat('t', 43)]"] {
        assert_eq!(sqlstate(&lookup, &settle(wrong)).await.as_deref(), Some("22023"), "{wrong}");
    }
    assert_eq!(sqlstate(&lookup, &settle(token)).await, None);
    assert_eq!(sqlstate(&lookup, &settle(token)).await.as_deref(), Some("22023"), "twice");
    assert_eq!(world.log("lookup_tokens").await.len(), 1);
    for values in ["0", "10001", "NULL", "-1"] {
        record_refused(&lookup, &format!("SELECT pii_vault.record_lookup('ip', {values}, 'why', 'C-1')")).await;
    }
    for arguments in ["NULL, 1, 'why', 'C-1'", "'ip', 1, ' ', 'C-1'", "'ip', 1, NULL, 'C-1'", "'ip', 1, 'why', NULL"] {
        record_refused(&lookup, &format!("SELECT pii_vault.record_lookup({arguments})")).await;
    }
    let refusals: Vec<_> = world.log("lookup").await.iter().skip(1).map(|row| row["refusal"].clone()).collect();
    assert_eq!(refusals[..4], ["too_many_values"; 4].map(serde_json::Value::from));
    assert_eq!(refusals[4..], ["malformed", "malformed", "malformed", "case_form"].map(serde_json::Value::from));
}

/// Recorded all the same; nothing is fetched for it.
async fn record_refused(lookup: &Client, sql: &str) {
    let receipt: Uuid = lookup.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(arm(lookup, receipt).await, None, "{sql}");
    assert!(fetch(lookup, receipt).await.is_err_and(|word| word != "not_armed"), "{sql}");
}
