//! Who waits for whom while a job is claimed, settled and recorded, and what is refused, with raw SQL.

use std::time::{Duration, Instant};

use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::{Who, World, sqlstate};

const TOKEN_ROTATION: &str = "SELECT pii_vault.record_token_rotation(gen_random_uuid(), decode(repeat('ab', 100), 'hex'), \
     'arn:aws:kms:x', sha256('k'), 'why')";

async fn id(conn: &Client, sql: &str) -> Uuid {
    conn.query_one(sql, &[]).await.unwrap().get(0)
}

async fn armed(conn: &Client, record: &str) -> Uuid {
    let job = id(conn, record).await;
    conn.execute("SELECT pii_vault.arm_rotation($1, $1)", &[&job]).await.unwrap();
    job
}

/// The step that a claim tells, and whether it has a page.
async fn claim(conn: &Client, job: Uuid) -> (String, bool) {
    let sql = "SELECT step::text, through_day IS NOT NULL FROM pii_vault.claim_rotation($1, $1, 500)";
    let row = conn.query_one(sql, &[&job]).await.unwrap();
    (row.get(0), row.get(1))
}

fn settle(job: Uuid, why: &str) -> String {
    format!(
        "SELECT pii_vault.settle_rotation('{job}', '{job}', 0, '{{2026-01-01}}', '{{{job}}}', '{{{job}}}', '{{{why}}}')"
    )
}

async fn within(limit: Duration, work: impl Future<Output = Option<String>>) -> Option<String> {
    tokio::time::timeout(limit, work).await.expect("nobody is in its way")
}

#[tokio::test(flavor = "multi_thread")]
async fn others_settle_while_one_looks_for_what_is_left() {
    let world = World::vault().await;
    world.ingest(1, 10);
    let (one, two) = (world.connect(Who::Reseal).await, world.connect(Who::Reseal).await);
    let job = armed(&one, "SELECT pii_vault.record_reseal('{}', '0', 'why')").await;
    assert_eq!(claim(&one, job).await, ("work".to_owned(), true));
    // The scan of all partitions waits at one that a page beyond the cursor is not in.
    let other = "pii_vault.login_events_2026_01";
    world
        .sql
        .batch_execute("SET ROLE pii_vault_owner; SELECT pii_vault.ensure_month('2026-01-01'); RESET ROLE")
        .await
        .unwrap();
    world.sql.batch_execute(&format!("BEGIN; LOCK TABLE {other}")).await.unwrap();
    let looking = tokio::spawn(async move { claim(&one, job).await });
    let waits = format!("pg_locks WHERE NOT granted AND relation = '{other}'::regclass");
    for round in 0.. {
        if world.count(&waits).await > 0 {
            break;
        }
        assert!(round < 500, "it does not look");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let soon = Duration::from_secs(1);
    assert_eq!(within(soon, sqlstate(&two, &settle(job, "too_short"))).await, None);
    let asked = tokio::time::timeout(soon, claim(&two, job)).await;
    assert_eq!(asked, Ok(("work".to_owned(), false)), "one looks, and another asks again");
    // What becomes of the pass meanwhile is found.
    let pause = format!("SELECT pii_vault.pause_rotation('{job}', 'why')");
    assert_eq!(within(soon, sqlstate(&two, &pause)).await, None);
    world.sql.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(looking.await.unwrap(), ("work".to_owned(), false));
    two.execute("SELECT pii_vault.arm_rotation($1, $1)", &[&job]).await.unwrap();
    world.sql.batch_execute("DELETE FROM pii_vault.login_events").await.unwrap();
    assert_eq!(claim(&two, job).await, ("done".to_owned(), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_do_not_wait_for_a_scan_where_a_token_key_comes_to_be_required() {
    let world = World::vault().await;
    world.import(5);
    let reseal = world.connect(Who::Reseal).await;
    let job = armed(&reseal, TOKEN_ROTATION).await;
    assert_eq!(claim(&reseal, job).await, ("work".to_owned(), true));
    let filled = "UPDATE pii_vault.token_keys SET created_at = created_at - interval '6 seconds' WHERE optional;
        UPDATE pii_vault.login_events SET ip_token_b = ip_token_a, device_id_token_b = device_id_token_a,
            token_key_b = (SELECT new_key FROM pii_vault.rotation_jobs)";
    world.sql.batch_execute("ALTER TABLE pii_vault.token_keys DISABLE TRIGGER key_changes").await.unwrap();
    world.sql.batch_execute(filled).await.unwrap();
    reseal.batch_execute("BEGIN").await.unwrap();
    assert_eq!(
        claim(&reseal, job).await,
        ("work".to_owned(), false),
        "this transaction has the lock, and looks for nothing"
    );
    reseal.batch_execute("COMMIT").await.unwrap();
    assert_eq!(world.count("pii_vault.token_keys WHERE optional").await, 0);
    assert_eq!(claim(&reseal, job).await, ("filled".to_owned(), false));
}

/// Under the lock on the token keys, for which all batches wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_rotation_does_not_wait_long_for_the_log() {
    let world = World::vault().await;
    let reseal = world.connect(Who::Reseal).await;
    world.sql.batch_execute("BEGIN; LOCK TABLE pii_vault.audit_turn IN SHARE UPDATE EXCLUSIVE MODE").await.unwrap();
    let began = Instant::now();
    let error = reseal.query_one(TOKEN_ROTATION, &[]).await.unwrap_err();
    assert_eq!(error.as_db_error().unwrap().constraint(), Some("log_is_held"));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    world.sql.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(sqlstate(&reseal, TOKEN_ROTATION).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_outcome_reason_or_job_is_refused() {
    let world = World::vault().await;
    world.ingest(1, 5);
    let reseal = world.connect(Who::Reseal).await;
    let refused = async |sql: String| sqlstate(&reseal, &sql).await.unwrap_or_default();
    let data = armed(&reseal, "SELECT pii_vault.record_reseal('{}', '0', 'why')").await;
    assert_eq!(refused(settle(data, "token_mismatch")).await, "22023", "no tokens are compared");
    for reason in ["NULL", "' '", "repeat('x', 1001)"] {
        assert_eq!(refused(format!("SELECT pii_vault.retire_data_keys(NULL, {reason})")).await, "22023", "{reason}");
        let abandon = format!("SELECT pii_vault.abandon_rotation('{data}', {reason})");
        assert_eq!(refused(abandon).await, if reason == "NULL" { "" } else { "22023" }, "{reason}");
    }
    assert_eq!(world.count("pii_vault.rotation_jobs WHERE step = 'work'").await, 1);
    assert_eq!(refused(format!("SELECT pii_vault.count_reseal('{}')", Uuid::nil())).await, "42501");
    assert_eq!(refused(format!("SELECT pii_vault.count_reseal('{data}')")).await, "");

    let token = armed(&reseal, TOKEN_ROTATION).await;
    assert_eq!(refused(format!("SELECT pii_vault.count_reseal('{token}')")).await, "42501");
    assert_eq!(refused(format!("SELECT pii_vault.abandon_rotation('{token}', 'why')")).await, "55000");
    assert_eq!(refused(settle(token, "token_mismatch")).await, "");
    world
        .sql
        .batch_execute("UPDATE pii_vault.rotation_jobs SET step = 'filled' WHERE kind = 'token-key'")
        .await
        .unwrap();
    assert_eq!(refused(settle(token, "token_mismatch")).await, "", "it is listed");
    let another = settle(token, "token_mismatch").replace("{2026-01-01}", "{2026-01-02}");
    assert_eq!(refused(another).await, "22023");
}
