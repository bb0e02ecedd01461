//! What is read waits for the notary, and the checkpoint that it waited for is verified.

use std::path::Path;

use super::scene::Scene;
use crate::support::{Who, login};

const VARIABLE: &str = "PII_VAULT_CHECKPOINT_PUBLIC_KEY";
const NOT_VERIFIED: &str = "is not verified: PII_VAULT_CHECKPOINT_PUBLIC_KEY is not set";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_is_covered_by_a_checkpoint_that_verifies() {
    let (scene, other) = (Scene::new().await, Scene::new().await);
    let world = &scene.world;
    world.send([login(1).to_string()]).await;
    world.drain(&[]);
    world.sql.batch_execute("SELECT pii_vault.set_policy(1000, 1, 28800, '.+', 'required', 'a test')").await.unwrap();
    let pem = |name: &str, key: String| {
        let path = Path::new(scene.folder()).join(name);
        std::fs::write(&path, key).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (right, wrong) = (pem("right.pem", scene.key().to_pem()), pem("wrong.pem", other.key().to_pem()));
    let notary = scene.bare(&["--gap", "0ms"]);
    let why = ["--reason", "a test", "--case", "C-1", "--output", "json"];
    let user = login(1)["user_id"].clone();
    let unmask = [&["unmask", "--user-id", user.as_str().unwrap(), "--format", "json"], &why[..]].concat();
    let lookup = [&["lookup", "ip"], &why[..]].concat();
    let run = |who, args: &[&str], env: &[(&str, &str)]| world.pii_vault_given(who, args, env, b"10.0.0.1").finish();
    for (who, args) in [(Who::Officer, &unmask), (Who::Lookup, &lookup)] {
        let verified = run(who, args, &[(VARIABLE, &right)]).done();
        assert!(!verified.stdout.is_empty() && !verified.stderr.contains(NOT_VERIFIED), "{}", verified.stderr);
        let unverified = run(who, args, &[]).done();
        assert!(!unverified.stdout.is_empty() && unverified.stderr.contains(NOT_VERIFIED), "{}", unverified.stderr);
        let outcomes = "pii_vault.audit_log WHERE action IN ('unmask_page', 'lookup_tokens')";
        let before = world.count(outcomes).await;
        let refused = run(who, args, &[(VARIABLE, &wrong)]).exits(4);
        assert!(!refused.stdout.contains("10.0.0.1") && !refused.stdout.contains("token"), "{}", refused.stdout);
        assert!(refused.stderr.contains("does not verify under the public key"), "{}", refused.stderr);
        assert_eq!(world.count(outcomes).await, before, "nothing was opened");
        // Before anything is recorded.
        run(who, args, &[(VARIABLE, "/nonexistent")]).exits(1);
    }
    assert_eq!(world.count("pii_vault.audit_log WHERE action IN ('unmask', 'lookup')").await, 6);
    notary.signal("TERM");
    scene.wait_for_end(notary).await.done();
}

/// The receipt's checkpoint is told to whose receipt it is.
#[tokio::test(flavor = "multi_thread")]
async fn the_checkpoint_of_a_receipt_is_for_its_owner() {
    let scene = Scene::new().await;
    let world = &scene.world;
    world.sql.batch_execute("SELECT pii_vault.set_policy(1000, 1, 28800, '.+', NULL, 'a test')").await.unwrap();
    let officer = world.connect(Who::Officer).await;
    let receipt = crate::support::receipts::try_record(&officer).await.unwrap();
    let asked = format!("SELECT required, receipt_seq, seq FROM pii_vault.covering_checkpoint('{receipt}')");
    let row = officer.query_one(&asked, &[]).await.unwrap();
    assert_eq!((row.get::<_, bool>(0), row.get::<_, i64>(1), row.get::<_, Option<i64>>(2)), (false, 3, None));
    scene.append().await;
    world.pii_vault(Who::Notary, &["audit", "checkpoint"]).finish().done();
    scene.append().await;
    world.pii_vault(Who::Notary, &["audit", "checkpoint"]).finish().done();
    let row = officer.query_one(&asked, &[]).await.unwrap();
    assert_eq!(row.get::<_, Option<i64>>(2), Some(4), "the first that covers it");
    for who in [Who::Colleague, Who::Lookup] {
        let refused = world.connect(who).await.query_one(&asked, &[]).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501", "{who:?}");
    }
}
