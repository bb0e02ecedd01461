//! The rule is the database's: what the role of redriving gets, and is refused, with raw SQL.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::{Who, World, login, sqlstate};

const DENIED: Option<&str> = Some("42501");
const RECORD: &str = "SELECT pii_vault.record_redrive('why', '{}', NULL, NULL, '{}', NULL, NULL, 10)";

async fn record(conn: &Client) -> Uuid {
    conn.query_one(RECORD, &[]).await.unwrap().get(0)
}

async fn arm(conn: &Client, job: Uuid) -> Option<String> {
    sqlstate(conn, &format!("SELECT pii_vault.arm_redrive('{job}')")).await
}

async fn fetch(conn: &Client, job: Uuid) -> Result<usize, String> {
    let rows = conn.query(&format!("SELECT * FROM pii_vault.fetch_redrive('{job}', 0)"), &[]).await;
    rows.map(|rows| rows.len()).map_err(|error| {
        let error = error.as_db_error().unwrap();
        error.constraint().unwrap_or(error.code().code()).to_owned()
    })
}

/// With the word that says why.
fn refused(word: &str) -> Result<usize, String> {
    Err(word.to_owned())
}

fn denied() -> Result<usize, String> {
    Err("42501".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_table_gives_a_sealed_body_or_a_wrapped_key_and_no_record_can_be_made_by_hand() {
    let world = World::vault().await;
    world.set_aside(["{"]).await;
    let redrive = world.connect(Who::Redrive).await;
    record(&redrive).await;
    for sql in [
        "SELECT body_ciphertext FROM pii_vault.dead_letters",
        "SELECT dead_letter_key_id FROM pii_vault.dead_letters",
        "SELECT * FROM pii_vault.dead_letters",
        "SELECT FROM pii_vault.dead_letter_keys",
        "SELECT FROM pii_vault.data_keys",
        "SELECT FROM pii_vault.login_events",
        "SELECT FROM user_logins",
        "SELECT FROM pii_vault.redrive_jobs",
        "SELECT FROM pii_vault.redrive_rows",
        "INSERT INTO pii_vault.redrive_rows (job, ordinal, create_date, message_id) VALUES (gen_random_uuid(), 1, '2026-01-01', gen_random_uuid())",
        "INSERT INTO pii_vault.redrive_jobs (note, reasons, ids, row_count) VALUES ('x', '{}', '{}', 1)",
        "UPDATE pii_vault.redrive_jobs SET recorded_at = clock_timestamp()",
        "DELETE FROM pii_vault.redrive_jobs",
        "TRUNCATE pii_vault.redrive_rows",
        "UPDATE pii_vault.dead_letters SET redriven_at = NULL",
        "DELETE FROM pii_vault.dead_letters",
        "INSERT INTO pii_vault.dead_letter_keys (id) VALUES (gen_random_uuid())",
        "SELECT pii_vault.own_redrive_job(gen_random_uuid())",
        "UPDATE pii_vault.token_keys SET state = 'retired'",
        "SET ROLE pii_vault_owner",
    ] {
        assert_eq!(sqlstate(&redrive, sql).await.as_deref(), DENIED, "{sql}");
    }
    for who in [Who::Ingest, Who::Analyst] {
        let other = world.connect(who).await;
        for sql in [RECORD, "SELECT pii_vault.fetch_redrive(gen_random_uuid(), 0)"] {
            assert_eq!(sqlstate(&other, sql).await.as_deref(), DENIED, "{who:?} {sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_for_a_committed_armed_job_and_repeatedly() {
    let world = World::vault().await;
    world.set_aside((0..3).map(|number| login(number).to_string())).await;
    let redrive = world.connect(Who::Redrive).await;
    let job = record(&redrive).await;
    assert_eq!(fetch(&redrive, job).await, refused("not_armed"));
    redrive.batch_execute("BEGIN").await.unwrap();
    assert_eq!(arm(&redrive, job).await, None);
    assert_eq!(fetch(&redrive, job).await, refused("not_armed"), "in the transaction that arms it");
    redrive.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(fetch(&redrive, job).await, refused("not_armed"), "rolled back");
    assert_eq!(arm(&redrive, job).await, None);
    // Set aside after the record: not in its list.
    world.set_aside(["{"]).await;
    for _ in 0..2 {
        assert_eq!(fetch(&redrive, job).await, Ok(3));
    }
    let beyond = format!("SELECT * FROM pii_vault.fetch_redrive('{job}', -2147483648)");
    assert_eq!(redrive.query(&beyond, &[]).await.unwrap().len(), 3);
    redrive.batch_execute("BEGIN").await.unwrap();
    assert_eq!(fetch(&redrive, job).await, Ok(3));
    redrive.batch_execute("ROLLBACK").await.unwrap();

    world
        .sql
        .batch_execute("UPDATE pii_vault.redrive_jobs SET recorded_at = recorded_at - interval '10 minutes'")
        .await
        .unwrap();
    assert_eq!(fetch(&redrive, job).await, refused("stale"));
    world.sql.batch_execute("UPDATE pii_vault.redrive_jobs SET recorded_at = recorded_at + interval '10 minutes', armed_at_lsn = 'FFFFFFFF/0'").await.unwrap();
    assert_eq!(fetch(&redrive, job).await, refused("not_durable"));
    world.sql.batch_execute("UPDATE pii_vault.redrive_jobs SET armed_at_lsn = '0/1'").await.unwrap();
    assert_eq!(fetch(&redrive, job).await, Ok(3));
    world.sql.batch_execute("SELECT pii_vault.set_policy(NULL, NULL, NULL, NULL, 'required', 'x')").await.unwrap();
    assert_eq!(fetch(&redrive, job).await, refused("no_checkpoint"));
    world
        .sql
        .batch_execute(
            "INSERT INTO pii_vault.checkpoints SELECT seq, sha256('head'), sha256('before'), now(), 'key', \
             sha256('signature') FROM pii_vault.redrive_jobs",
        )
        .await
        .unwrap();
    assert_eq!(fetch(&redrive, job).await, Ok(3), "a checkpoint covers it");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_rows_come_for_a_job_that_is_not_committed() {
    let world = World::vault().await;
    world.set_aside((0..3).map(|number| login(number).to_string())).await;
    let (one, two) = (world.connect(Who::Redrive).await, world.connect(Who::Redrive).await);

    // In the transaction that recorded it, also within a savepoint of it, released or rolled back.
    for begin in ["BEGIN", "BEGIN; SAVEPOINT s"] {
        one.batch_execute(begin).await.unwrap();
        let job = record(&one).await;
        assert_eq!(arm(&two, job).await.as_deref(), DENIED, "another session does not see it");
        assert_eq!(arm(&one, job).await.as_deref(), DENIED, "{begin}");
        one.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!((arm(&one, job).await.as_deref(), fetch(&one, job).await), (DENIED, denied()), "rolled back");
    }
    one.batch_execute("BEGIN; SAVEPOINT s").await.unwrap();
    let job = record(&one).await;
    one.batch_execute("RELEASE s; SAVEPOINT t").await.unwrap();
    assert_eq!(fetch(&one, job).await, denied());
    one.batch_execute("ROLLBACK TO t").await.unwrap();
    assert_eq!(arm(&one, job).await.as_deref(), DENIED, "same transaction");
    one.batch_execute("ROLLBACK TO t; COMMIT").await.unwrap();
    assert_eq!((arm(&one, job).await, fetch(&one, job).await), (None, Ok(3)), "committed now");

    one.batch_execute("BEGIN; SAVEPOINT s").await.unwrap();
    let gone = record(&one).await;
    one.batch_execute("ROLLBACK TO s; COMMIT").await.unwrap();
    assert_eq!(world.log("redrive").await.len(), 1, "what was rolled back is not in the log, and gave nothing");
    assert_eq!((arm(&one, gone).await.as_deref(), fetch(&one, gone).await), (DENIED, denied()));

    // Of a snapshot that is older than the record's fate.
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        one.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}")).await.unwrap();
        assert_eq!(fetch(&one, job).await, Err("25000".to_owned()));
        one.batch_execute("ROLLBACK").await.unwrap();
    }
    assert_eq!((arm(&one, Uuid::nil()).await.as_deref(), fetch(&one, Uuid::nil()).await), (DENIED, denied()));
    let nulls = one.query("SELECT * FROM pii_vault.fetch_redrive(NULL, NULL)", &[]).await.unwrap();
    assert!(nulls.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_belongs_to_its_login_whatever_role_that_takes_on() {
    let world = World::vault().await;
    world.set_aside([login(1).to_string()]).await;
    let redrive = world.connect(Who::Redrive).await;
    let job = record(&redrive).await;
    assert_eq!(arm(&redrive, job).await, None);

    world.make_login(Who::Nobody).await;
    let grant = format!("GRANT pii_vault_redrive TO nobody_{}", world.id);
    world.sql.batch_execute(&grant).await.unwrap();
    let other = world.connect(Who::Nobody).await;
    other.batch_execute("SET ROLE pii_vault_redrive").await.unwrap();
    assert_eq!((arm(&other, job).await.as_deref(), fetch(&other, job).await), (DENIED, denied()));
    let settle = format!("SELECT pii_vault.settle_redrive('{job}', '{{1}}', '{{refused}}', '{{empty}}', '{{ip}}')");
    assert_eq!(sqlstate(&other, &settle).await.as_deref(), DENIED);
    assert_eq!(fetch(&redrive, job).await, Ok(1));
    let actor = world.sql.query_one("SELECT actor FROM pii_vault.redrive_jobs", &[]).await.unwrap();
    assert_eq!(actor.get::<_, String>(0), format!("redrive_{}", world.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_cannot_be_marked_without_its_event_nor_settled_twice_nor_beyond_the_list() {
    let world = World::vault().await;
    let ids = world.set_aside((0..2).map(|number| login(number).to_string())).await;
    let redrive = world.connect(Who::Redrive).await;
    let job: Uuid = redrive
        .query_one(&RECORD.replace("'{}', NULL, NULL, 10", &format!("'{{{}}}', NULL, NULL, 10", ids[0])), &[])
        .await
        .unwrap()
        .get(0);
    let settle = |ordinal: i32, outcome: &str, reason: &str| {
        let arrays = format!("'{{{ordinal}}}', '{{{outcome}}}', '{{{reason}}}', '{{NULL}}'");
        format!("SELECT pii_vault.settle_redrive('{job}', {arrays})")
    };
    assert_eq!(sqlstate(&redrive, &settle(1, "refused", "too_deep")).await.as_deref(), Some("22023"), "not armed");
    assert_eq!(arm(&redrive, job).await, None);
    for wrong in ["'{1,1}', '{refused,refused}', '{empty,empty}', '{NULL,NULL}'", "'{1}', '{NULL}', '{NULL}', '{NULL}'"]
    {
        let sql = format!("SELECT pii_vault.settle_redrive('{job}', {wrong})");
        assert_eq!(sqlstate(&redrive, &sql).await.as_deref(), Some("22023"), "{wrong}");
    }
    assert_eq!(sqlstate(&redrive, &settle(1, "stored", "NULL")).await.as_deref(), Some("23503"));
    // Ordinal 2 is not in the list: nothing happens.
    assert_eq!(sqlstate(&redrive, &settle(2, "refused", "too_deep")).await, None);
    assert_eq!(world.count("pii_vault.dead_letters WHERE reason = 'too_deep'").await, 0);
    assert_eq!(sqlstate(&redrive, &settle(1, "refused", "too_deep")).await, None);
    assert_eq!(world.count("pii_vault.dead_letters WHERE reason = 'too_deep'").await, 1);
    assert_eq!(sqlstate(&redrive, &settle(1, "did_not_open", "NULL")).await, None);
    assert_eq!(sqlstate(&redrive, &settle(1, "refused", "empty")).await, None);
    assert_eq!(world.count("pii_vault.redrive_rows WHERE outcome = 'refused'").await, 1, "the first outcome stays");
    assert_eq!(world.count("pii_vault.dead_letters WHERE reason = 'too_deep'").await, 1, "and what came of it");
    let pages: Vec<_> = world.log("redrive_page").await.iter().map(|row| row["details"].clone()).collect();
    let page = json!({"first": 1, "last": 1, "stored": 0, "refused": 1, "did_not_open": 0, "unopened": []});
    assert_eq!(pages, [page], "once");
    for sql in [RECORD.replace("'why'", "' '"), RECORD.replace("'why'", "repeat('x', 1001)")] {
        assert_eq!(sqlstate(&redrive, &sql).await.as_deref(), Some("23514"), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_who_reads_which_letters_and_why() {
    let world = World::vault().await;
    let ids = world.set_aside((0..2).map(|number| login(number).to_string())).await;
    let redrive = world.connect(Who::Redrive).await;
    let sql = format!(
        "SELECT pii_vault.record_redrive('why', '{{invalid_json,empty}}', '0', '1 day 90 seconds', '{{{}}}', NULL, NULL, 10)",
        ids[1]
    );
    let job: Uuid = redrive.query_one(&sql, &[]).await.unwrap().get(0);
    let none: Option<Uuid> = redrive.query_one(&sql.replace("'0'", "'1 day'"), &[]).await.unwrap().get(0);
    assert_eq!(none, None);
    let log = world.log("redrive").await;
    assert_eq!(log.len(), 1, "what finds nothing is not recorded");
    assert_eq!(
        (&log[0]["actor"], &log[0]["role"]),
        (&json!(format!("redrive_{}", world.id)), &json!("pii_vault_redrive"))
    );
    assert_eq!(
        [&log[0]["reason"], &log[0]["decision"], &log[0]["case_id"]],
        [&json!("why"), &json!("allowed"), &Value::Null]
    );
    assert_eq!(log[0]["subject"], job.to_string());
    let hash = "SELECT encode(pii_vault.list_hash(array_agg(create_date ORDER BY ordinal), \
                array_agg(message_id ORDER BY ordinal)), 'hex') FROM pii_vault.redrive_rows";
    let hash: String = world.sql.query_one(hash, &[]).await.unwrap().get(0);
    let selector = json!({"reasons": ["invalid_json", "empty"], "ids": [ids[1].to_string()], "older_than": 0, "newer_than": 86_490});
    assert_eq!(log[0]["details"], json!({"selector": selector, "rows": 1, "list_sha256": hash}));

    // No record, no rows: whoever holds the log holds up the record, for some seconds at most.
    let holder = world.superuser().await;
    holder.batch_execute("BEGIN; SELECT FROM pii_vault.audit_head FOR UPDATE").await.unwrap();
    assert_eq!(sqlstate(&redrive, RECORD).await.as_deref(), Some("55P03"));
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(world.count("pii_vault.redrive_jobs").await, 1);
    let ids = format!("NULL, NULL, array_fill('{}'::uuid, ARRAY[1001])", ids[0]);
    let many = RECORD.replace("NULL, NULL, '{}'", &ids);
    redrive.batch_execute(&many).await.unwrap();
    assert_eq!(world.log("redrive").await[1]["details"]["selector"], Value::Null, "too long to be of use");
}

/// Else whoever holds a dead letter, or a key, would hold up everybody who records.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_letter_to_settle_does_not_hold_the_log() {
    let world = World::vault().await;
    world.set_aside(["{"]).await;
    let (one, two) = (world.connect(Who::Redrive).await, world.connect(Who::Redrive).await);
    let job = record(&one).await;
    assert_eq!(arm(&one, job).await, None);
    let holder = world.superuser().await;
    holder.batch_execute("BEGIN; SELECT FROM pii_vault.dead_letters FOR UPDATE").await.unwrap();
    let settle =
        format!("SELECT pii_vault.settle_redrive('{job}', '{{1}}', '{{did_not_open}}', '{{NULL}}', '{{NULL}}')");
    let (settled, ()) = tokio::join!(sqlstate(&one, &settle), async {
        let waits = "pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
        while world.count(waits).await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        record(&two).await;
        holder.batch_execute("COMMIT").await.unwrap();
    });
    assert_eq!((settled, world.log("redrive_page").await.len()), (None, 1));
}
