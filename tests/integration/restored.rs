//! A dump that is restored into another cluster: its receipts hand out nothing, and it is told for what it is.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::stack::Postgres;
use crate::support::receipts::{arm, fetch, try_record};
use crate::support::{Who, World, sqlstate};

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_dump_hands_out_nothing_for_its_receipts_and_is_told() {
    let world = World::to_unmask(3, 1000).await;
    // More transactions than restoring takes.
    let burn = "DO $$ BEGIN FOR i IN 1..20000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$";
    world.sql.batch_execute(burn).await.unwrap();
    let officer = world.connect(Who::Officer).await;
    let (armed, recorded) = (try_record(&officer).await.unwrap(), try_record(&officer).await.unwrap());
    arm(&officer, armed).await.unwrap();
    assert!(fetch(&officer, armed).await.is_ok(), "where it was recorded");

    let server = Postgres::start_trusting().expect("PostgreSQL starts");
    let admin = server.admin_url("postgres");
    let roles =
        "SELECT string_agg(format('CREATE ROLE %I %s;', rolname, CASE WHEN rolcanlogin THEN 'LOGIN' ELSE '' END), ' ')
                 FROM pg_roles WHERE rolname LIKE 'pii_vault_%' OR rolname LIKE '%' || $1 OR rolname = 'administrator'";
    let roles: String = world.sql.query_one(roles, &[&world.id]).await.unwrap().get(0);
    let login = format!("officer_{}", world.id);
    let grant = format!("GRANT pii_vault_unmask TO {login};");
    let mut psql = Command::new(server.bin("psql"));
    let mut psql = psql.arg("--quiet").arg(&admin).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let dump = [roles.as_bytes(), grant.as_bytes(), &world.pg_dump()].concat();
    psql.stdin.take().unwrap().write_all(&dump).unwrap();
    assert!(psql.wait().unwrap().success());

    let (restored, driver) = tokio_postgres::connect(&server.url(&login, "", "postgres"), NoTls).await.unwrap();
    tokio::spawn(driver);
    restored.batch_execute("SET ROLE pii_vault_unmask").await.unwrap();
    for receipt in [armed, recorded] {
        let refused = arm(&restored, receipt).await.unwrap_err();
        assert!(refused.contains("42501") || refused.contains("no committed receipt"), "{refused}");
        assert!(fetch(&restored, receipt).await.is_err());
    }
    let env = [("DATABASE_URL", admin.as_str())];
    let found = || {
        let findings = world.pii_vault_with(Who::Administrator, &["doctor", "--output", "json"], &env).finish().json();
        let found = findings.as_array().unwrap().iter().find(|finding| finding["check"] == "restored").unwrap();
        (found["status"].as_str().unwrap().to_owned(), found["detail"].as_str().unwrap().to_owned())
    };
    let verified = || world.pii_vault_with(Who::Auditor, &["audit", "verify", "--output", "json"], &env).finish();
    let words = |list: &Value| -> Vec<_> {
        list.as_array().unwrap().iter().map(|one| one["word"].as_str().unwrap().to_owned()).collect()
    };
    let (status, detail) = found();
    assert!(status == "warn" && detail.starts_with("2 receipts"), "{status} {detail}");
    assert_eq!(words(&verified().done().json()["notes"]), ["restored"]);

    // Nothing that was signed is lost, and what was open is closed.
    let folder = std::env::temp_dir().join(format!("pii-vault-restored-{}", world.id));
    std::fs::create_dir(&folder).unwrap();
    let key = folder.join("key.pem");
    std::fs::write(&key, world.pii_vault(Who::Auditor, &["audit", "public-key"]).finish().done().stdout).unwrap();
    let (sink, key) = (folder.to_str().unwrap(), key.to_str().unwrap());
    let resume = || {
        let args = ["audit", "resume", "--reason", "moved", "--sink", sink, "--public-key", key, "--output", "json"];
        world.pii_vault_with(Who::Administrator, &args, &env).finish()
    };
    let told = resume().done().json();
    assert_eq!((&told["lost_through"], &told["closed_receipts"]), (&Value::Null, &2.into()), "{told}");
    resume().exits(3);
    for receipt in [armed, recorded] {
        assert_eq!(arm(&restored, receipt).await, Err("stale".to_owned()));
        assert_eq!(fetch(&restored, receipt).await, Err("stale".to_owned()));
    }
    let (status, detail) = found();
    assert!(status == "ok" && detail.contains("in service again"), "{status} {detail}");
    assert_eq!(words(&verified().done().json()["notes"]), ["resumed"]);
    std::fs::remove_dir_all(&folder).unwrap();

    // A checkpoint that outlived the entries which it is for.
    let (sql, driver) = tokio_postgres::connect(&admin, NoTls).await.unwrap();
    tokio::spawn(driver);
    let beyond =
        "INSERT INTO pii_vault.checkpoints SELECT seq + 1, hash, hash, now(), 'key', hash FROM pii_vault.audit_head";
    sql.batch_execute(beyond).await.unwrap();
    let (status, detail) = found();
    assert!(status == "fail" && detail.contains("entries were removed"), "{status} {detail}");
    let found = words(&verified().exits(4).json()["findings"]);
    assert_eq!(found.iter().filter(|word| *word == "checkpoint_ahead").count(), 1, "{found:?}");

    // And where nothing was put back.
    let findings = world.pii_vault(Who::Administrator, &["doctor", "--output", "json"]).finish().json();
    let found = findings.as_array().unwrap().iter().find(|finding| finding["check"] == "restored").unwrap();
    assert_eq!(found["status"], "ok");
}

/// Whatever its transaction's number means in this cluster: here it is its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_job_from_before_a_restore_gives_nothing() {
    let world = World::vault().await;
    world.set_aside(["{"]).await;
    let redrive = world.connect(Who::Redrive).await;
    let record = async || -> Uuid {
        let sql = "SELECT pii_vault.record_redrive('why', '{}', NULL, NULL, '{}', NULL, NULL, 10)";
        let job = redrive.query_one(sql, &[]).await.unwrap().get(0);
        let arm = format!("SELECT pii_vault.arm_redrive('{job}')");
        assert_eq!(sqlstate(&redrive, &arm).await, None);
        job
    };
    let fetch =
        async |job: Uuid| sqlstate(&redrive, &format!("SELECT * FROM pii_vault.fetch_redrive('{job}', 0)")).await;
    let job = record().await;
    assert_eq!(fetch(job).await, None);
    let restored =
        "SELECT closed_redrive_jobs FROM pii_vault.audit_head AS h, pii_vault.record_restored('why', h.seq, h.hash,
         h.seq, h.seq + 9, h.hash, h.hash, now(), 'key', decode(repeat('ab', 70), 'hex'))";
    let closed: i64 = world.sql.query_one(restored, &[]).await.unwrap().get(0);
    assert_eq!(closed, 1);
    for sql in [
        format!("SELECT * FROM pii_vault.fetch_redrive('{job}', 0)"),
        format!("SELECT pii_vault.arm_redrive('{job}')"),
        format!("SELECT pii_vault.settle_redrive('{job}', '{{1}}', '{{did_not_open}}', '{{NULL}}', '{{NULL}}')"),
    ] {
        let refused = redrive.batch_execute(&sql).await.unwrap_err();
        assert_eq!(refused.as_db_error().unwrap().constraint(), Some("stale"), "{sql}");
    }
    let next = record().await;
    assert_eq!(fetch(next).await, None);
}
