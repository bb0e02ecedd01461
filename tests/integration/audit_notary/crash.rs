//! What is signed outlives a crash of the server, whatever a session said of its commits.

use std::process::Command;
use std::time::Duration;

use tokio_postgres::{Client, NoTls};

use crate::stack::Postgres;
use crate::support::{Who, World};

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

/// A server of its own: it dies as one does that loses all shared memory, by the death of one process.
#[tokio::test(flavor = "multi_thread")]
async fn no_head_is_signed_that_a_crash_takes_back() {
    let world = World::empty().await;
    let server = Postgres::start_trusting().expect("PostgreSQL starts");
    let admin = server.admin_url("postgres");
    let env = [("DATABASE_URL", admin.as_str())];
    world.pii_vault_with(Who::Administrator, &["init", "--create-kms-keys"], &env).finish().done();
    let sql = connect(&admin).await;
    // The row is never stored, so that no commit of the notary's takes the entry to the disk behind the signature.
    sql.batch_execute(
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no' USING ERRCODE = '23514'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON pii_vault.checkpoints EXECUTE FUNCTION public.refuse()",
    )
    .await
    .unwrap();
    sql.batch_execute("ALTER SYSTEM SET wal_writer_delay = '10s'").await.unwrap();
    sql.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let folder = server.folder().join("copies");
    std::fs::create_dir(&folder).unwrap();
    for _ in 0..3 {
        let (victim, other) = (connect(&admin).await, connect(&admin).await);
        let pid: i32 = victim.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        victim.batch_execute("SET synchronous_commit = off; SELECT pii_vault.record_init(1, false)").await.unwrap();
        world
            .pii_vault_with(
                Who::Notary,
                &["audit", "checkpoint", "--patience", "100ms", "--sink", folder.to_str().unwrap()],
                &env,
            )
            .finish()
            .exits(1);
        assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
        // The other session ends once the server knows that it crashed; from then on it lets nobody in before recovery.
        while other.batch_execute("SELECT 1").await.is_ok() {}
        let head: i64 = loop {
            // It may take a connection just before it goes.
            if let Ok(row) = connect(&admin).await.query_one("SELECT seq FROM pii_vault.audit_head", &[]).await {
                break row.get(0);
            }
        };
        for copy in std::fs::read_dir(&folder).unwrap() {
            let name = copy.unwrap().file_name().into_string().unwrap();
            let seq: i64 = name.trim_end_matches(".json").parse().unwrap();
            assert!(seq <= head, "entry {seq} is signed, and the log ends at {head}");
            std::fs::remove_file(folder.join(name)).unwrap();
        }
    }
}
