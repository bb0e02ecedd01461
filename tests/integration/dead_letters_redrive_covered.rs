//! Dead letters are opened once a checkpoint covers the record, and where there is a key for that, once it verifies.

use std::path::PathBuf;

use crate::support::{Running, Who, World, login};

const VARIABLE: &str = "PII_VAULT_CHECKPOINT_PUBLIC_KEY";
const NOT_VERIFIED: &str = "is not verified: PII_VAULT_CHECKPOINT_PUBLIC_KEY is not set";
/// Of the head, and by nobody who may sign.
const FORGE: &str = "INSERT INTO pii_vault.checkpoints
    SELECT h.seq, h.hash, sha256('before'), now(), 'key', decode(repeat('30', 70), 'hex') FROM pii_vault.audit_head AS h";

/// The public key, for as long as the test runs.
struct Key(PathBuf);

impl Key {
    fn new(world: &World) -> Self {
        let path = std::env::temp_dir().join(format!("pii-vault-redrive-key-{}.pem", world.id));
        let pem = world.pii_vault(Who::Auditor, &["audit", "public-key"]).finish().done().stdout;
        std::fs::write(&path, pem).unwrap();
        Self(path)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Starts to redrive all, and returns once the job is recorded and waits to be covered.
fn waiting(world: &World, env: &[(&str, &str)]) -> Running {
    let args = ["etl", "dead-letters", "redrive", "--output", "json", "--all", "--note", "a test"];
    let mut run = world.pii_vault_with(Who::Redrive, &args, env);
    run.wait_for_log("no_checkpoint");
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_a_key_a_forged_checkpoint_opens_no_letter() {
    let world = World::vault().await;
    let key = Key::new(&world);
    let env = [(VARIABLE, key.0.to_str().unwrap())];
    let forge = || world.sql.batch_execute(FORGE);
    world.sql.batch_execute("SELECT pii_vault.set_policy(NULL, NULL, NULL, NULL, 'required', 'x')").await.unwrap();

    world.set_aside([login(1).to_string()]).await;
    let run = waiting(&world, &env);
    world.pii_vault(Who::Notary, &["audit", "checkpoint"]).finish().done();
    let verified = run.finish().done();
    assert_eq!(verified.json()["stored"], 1);
    assert!(!verified.stderr.contains(NOT_VERIFIED), "{}", verified.stderr);

    // The one that verifies is of an earlier entry.
    world.set_aside([login(2).to_string()]).await;
    let run = waiting(&world, &env);
    forge().await.unwrap();
    let refused = run.finish().exits(4);
    assert_eq!(refused.json()["selected"], 0);
    assert!(refused.stderr.contains("does not verify under the public key"), "{}", refused.stderr);
    assert_eq!(world.log("redrive_page").await.len(), 1, "nothing was opened");
    assert_eq!(world.count("pii_vault.dead_letters WHERE redriven_at IS NULL").await, 1);

    let run = waiting(&world, &[]);
    forge().await.unwrap();
    let unverified = run.finish().done();
    assert_eq!(unverified.json()["stored"], 1);
    assert!(unverified.stderr.contains(NOT_VERIFIED), "{}", unverified.stderr);
    // Before anything is recorded.
    let jobs = world.count("pii_vault.redrive_jobs").await;
    let args = ["etl", "dead-letters", "redrive", "--all", "--note", "a test"];
    world.pii_vault_with(Who::Redrive, &args, &[(VARIABLE, "/nonexistent")]).finish().exits(1);
    assert_eq!(world.count("pii_vault.redrive_jobs").await, jobs);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checkpoint_of_a_job_is_for_its_owner() {
    let world = World::vault().await;
    world.set_aside([login(1).to_string()]).await;
    // Of an entry before, which says nothing of it.
    world.sql.batch_execute(FORGE).await.unwrap();
    let args = ["etl", "dead-letters", "redrive", "--output", "json", "--all", "--note", "a test"];
    world.pii_vault(Who::Redrive, &args).finish().done();
    let job = &world.log("redrive").await[0];
    let (id, seq) = (job["subject"].as_str().unwrap(), job["seq"].as_i64().unwrap());
    let owner = world.connect(Who::Redrive).await;
    let asked = format!("SELECT required, job_seq, seq FROM pii_vault.covering_redrive_checkpoint('{id}')");
    let row = owner.query_one(&asked, &[]).await.unwrap();
    // Nobody has set a policy, and a service needs none.
    assert_eq!((row.get::<_, bool>(0), row.get::<_, i64>(1), row.get::<_, Option<i64>>(2)), (false, seq, None));
    world.sql.batch_execute(FORGE).await.unwrap();
    let first = owner.query_one(&asked, &[]).await.unwrap().get::<_, Option<i64>>(2);
    assert!(first > Some(seq));
    world.sql.batch_execute("SELECT pii_vault.set_policy(NULL, NULL, NULL, NULL, 'required', 'x')").await.unwrap();
    world.sql.batch_execute(FORGE).await.unwrap();
    let row = owner.query_one(&asked, &[]).await.unwrap();
    assert_eq!((row.get::<_, bool>(0), row.get::<_, Option<i64>>(2)), (true, first), "the first that covers it");

    world.sql.batch_execute(&format!("GRANT pii_vault_redrive TO colleague_{}", world.id)).await.unwrap();
    for (who, role) in [(Who::Colleague, "pii_vault_redrive"), (Who::Auditor, "pii_vault_auditor")] {
        let other = world.connect(who).await;
        other.batch_execute(&format!("SET ROLE {role}")).await.unwrap();
        let refused = other.query_one(&asked, &[]).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501", "{who:?}");
    }
}
