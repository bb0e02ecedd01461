//! A server that dies right after rows were handed out remembers who got them, whatever the session said of commits.

use std::process::Command;
use std::time::Duration;

use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::stack::Postgres;
use crate::support::receipts::{arm, fetch, try_record};
use crate::support::{Who, World, soak};

async fn connect(url: &str) -> Client {
    for _ in 0..600 {
        if let Ok((client, driver)) = tokio_postgres::connect(url, NoTls).await {
            tokio::spawn(driver);
            return client;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the server does not come back");
}

/// How many rows of the log are about it, once the server is back.
async fn remembered(admin: &str, receipt: Uuid) -> i64 {
    let sql = format!("SELECT count(*) FROM pii_vault.audit_log WHERE subject = '{receipt}'");
    loop {
        // It may take a connection just before it goes.
        if let Ok(row) = connect(admin).await.query_one(&sql, &[]).await {
            return row.get(0);
        }
    }
}

/// A server of its own: it dies as one does that loses all shared memory, by the death of one process.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_out_is_in_the_log_after_a_crash() {
    let world = World::empty().await;
    let server = Postgres::start_trusting().expect("PostgreSQL starts");
    let admin = server.admin_url("postgres");
    world
        .pii_vault_with(Who::Administrator, &["init", "--create-kms-keys"], &[("DATABASE_URL", &admin)])
        .finish()
        .done();
    let sql = connect(&admin).await;
    sql.batch_execute(
        "CREATE ROLE officer LOGIN; GRANT pii_vault_unmask TO officer;
         SELECT pii_vault.set_policy(1000000, 1, 28800, '.+', 'scheduled', 'a test');
         INSERT INTO pii_vault.login_events (create_date, event_id, user_id, device_type, app_version,
             ip_ciphertext, device_id_ciphertext, data_key_id, ip_token_a, device_id_token_a, token_key_a)
         SELECT '2026-01-01', gen_random_uuid(), 'user', 'ios', '1', decode(repeat('00', 81), 'hex'),
             decode(repeat('00', 65), 'hex'), gen_random_uuid(), repeat('i', 43), repeat('d', 43), gen_random_uuid()",
    )
    .await
    .unwrap();
    sql.batch_execute("ALTER SYSTEM SET wal_writer_delay = '10s'").await.unwrap();
    sql.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let (mut handed_out, mut lost, mut not_yet) = (0, 0, 0);
    let rounds = if soak() { 60 } else { 6 };
    // The server may write by itself what waits to be written; on a busy machine it may do so each time.
    for round in 0..60 {
        if round >= rounds && lost > 0 {
            break;
        }
        let url = server.url("officer", "", "postgres");
        let (recorder, reader) = (connect(&url).await, connect(&url).await);
        recorder.batch_execute("SET ROLE pii_vault_unmask; SET synchronous_commit = off").await.unwrap();
        reader.batch_execute("SET ROLE pii_vault_unmask").await.unwrap();
        let pid: i32 = reader.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        let receipt = try_record(&recorder).await.unwrap();
        arm(&recorder, receipt).await.unwrap();
        // Every other time something else is committed in earnest, which takes the record along.
        if round % 2 == 1 {
            reader.batch_execute("CREATE TEMP TABLE x (); DROP TABLE x").await.unwrap();
            let sql = connect(&admin).await;
            sql.batch_execute(&format!("CREATE TABLE public.t{round} ()")).await.unwrap();
        }
        let fetched = fetch(&reader, receipt).await;
        assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
        // The other session ends once the server knows that it crashed; from then on it lets nobody in before recovery.
        while recorder.batch_execute("SELECT 1").await.is_ok() {}
        let left = remembered(&admin, receipt).await;
        match fetched {
            Ok(rows) => {
                assert_eq!((rows, left), (1, 1), "handed out and not remembered");
                handed_out += 1;
            }
            Err(word) => {
                assert_eq!(word, "not_durable");
                not_yet += 1;
                lost += 1 - left;
            }
        }
    }
    assert!(handed_out > 0 && not_yet > 0 && lost > 0, "{handed_out} {not_yet} {lost}: no record was at risk");
}
