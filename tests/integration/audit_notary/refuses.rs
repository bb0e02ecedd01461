use super::scene::Scene;
use crate::support::Who;

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_was_altered_before_it_was_signed_is_named() {
    let scene = Scene::new().await;
    scene.world.pii_vault(Who::Notary, &["audit", "checkpoint"]).finish().done();
    for _ in 0..5 {
        scene.append().await;
    }
    for (sql, word) in [
        ("UPDATE pii_vault.audit_log SET actor = 'somebody' WHERE seq = 4", "entry 4 of the audit log was altered"),
        ("DELETE FROM pii_vault.audit_log WHERE seq = 4", "entry 4 of the audit log is gone"),
        ("UPDATE pii_vault.audit_head SET seq = 3, hash = sha256('x')", "last entry, 3"),
    ] {
        scene.tamper(sql).await;
        let refused = scene.wait_for_end(scene.notary(&[], &[])).await.exits(4);
        assert!(refused.stderr.contains(word) && refused.stderr.contains("ALARM"), "{}", refused.stderr);
        assert_eq!(scene.stored().await.len(), 1);
        assert_eq!(scene.files().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_database_is_refused_at_the_start_and_while_it_runs() {
    let scene = Scene::new().await;
    scene.world.pii_vault(Who::Notary, &["audit", "checkpoint", "--sink", scene.folder()]).finish().done();
    let running = scene.notary(&["--gap", "0ms"], &[]);
    for _ in 0..3 {
        let seq = scene.append().await;
        scene.wait_until_signed(seq).await;
    }
    scene.put_back(2).await;
    let refused = scene.wait_for_end(running).await.exits(4);
    assert!(refused.stderr.contains("an older database was put back"), "{}", refused.stderr);

    // By the copies alone.
    let refused = scene.wait_for_end(scene.notary(&[], &[])).await.exits(4);
    assert!(refused.stderr.contains(&format!("{} has a checkpoint for entry 3", scene.folder())), "{}", refused.stderr);

    // And where it has grown again, by the hashes.
    for _ in 0..3 {
        scene.append().await;
    }
    let refused = scene.wait_for_end(scene.notary(&[], &[])).await.exits(4);
    assert!(refused.stderr.contains("entry 3 with another hash"), "{}", refused.stderr);
    assert_eq!(scene.stored().await.len(), 2);
    assert_eq!(scene.files().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_that_were_removed_from_the_database_come_back_from_a_sink() {
    let scene = Scene::new().await;
    let once = || {
        scene
            .world
            .pii_vault(Who::Notary, &["audit", "checkpoint", "--output", "json", "--sink", scene.folder()])
            .finish()
    };
    for _ in 0..3 {
        once().done();
        scene.append().await;
    }
    scene.tamper("DELETE FROM pii_vault.checkpoints WHERE seq > 1").await;
    let report = once().done().json();
    assert_eq!((&report["taken_over"], &report["signed"]), (&2.into(), &1.into()), "{report}");
    assert_eq!(scene.one_chain().await.len(), 4);

    // Where one in between is nowhere any more, the next has nothing to follow.
    scene.tamper("DELETE FROM pii_vault.checkpoints WHERE seq > 1").await;
    let gone = std::path::Path::new(scene.folder()).join("00000000000000000002.json");
    std::fs::remove_file(gone).unwrap();
    let refused = once().exits(4);
    assert!(refused.stderr.contains("follows another checkpoint"), "{}", refused.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_checkpoint_in_the_database_is_refused_by_who_has_the_key() {
    let scene = Scene::new().await;
    scene.world.pii_vault(Who::Notary, &["audit", "checkpoint"]).finish().done();
    let pem = std::path::Path::new(scene.folder()).join("key.pem");
    std::fs::write(&pem, scene.key().to_pem()).unwrap();
    let args = ["audit", "checkpoint", "--public-key", pem.to_str().unwrap()];
    scene.world.pii_vault(Who::Notary, &args).finish().done();
    scene.tamper("UPDATE pii_vault.checkpoints SET at = at - interval '1 hour'").await;
    let refused = scene.world.pii_vault(Who::Notary, &args).finish().exits(4);
    assert!(
        refused.stderr.contains("the checkpoint for entry 1 in the database does not verify"),
        "{}",
        refused.stderr
    );

    // KMS's key is another than the one that is given.
    let other = Scene::new().await;
    std::fs::write(&pem, other.key().to_pem()).unwrap();
    scene.tamper("DELETE FROM pii_vault.checkpoints").await;
    let refused = scene.world.pii_vault(Who::Notary, &args).finish().exits(1);
    assert!(refused.stderr.contains("does not verify under the public key"), "{}", refused.stderr);
    assert_eq!(scene.stored().await.len(), 0);
}

/// Raw SQL under the notary's role: the database's own fence.
#[tokio::test(flavor = "multi_thread")]
async fn the_database_takes_the_next_checkpoint_alone() {
    let scene = Scene::new().await;
    scene.world.pii_vault(Who::Notary, &["audit", "checkpoint"]).finish().done();
    let (seq, before) = (scene.append().await, scene.stored().await[0].checkpoint);
    let sql = "SELECT hash FROM pii_vault.audit_log WHERE seq = $1";
    let head: Vec<u8> = scene.world.sql.query_one(sql, &[&seq]).await.unwrap().get(0);
    let (first, link, other) = (before.head_hash.to_vec(), before.hash().to_vec(), vec![7; 32]);
    let notary = scene.world.connect(Who::Notary).await;
    let store =
        "SELECT pii_vault.store_checkpoint($1, $2, $3, clock_timestamp(), 'key', decode(repeat('00', 70), 'hex'))";
    for (seq, head, link) in [
        (1, &first, &link),
        (1, &other, &link),
        (seq + 1, &head, &link),
        (seq, &first, &link),
        (seq, &head, &other),
        (0, &head, &link),
    ] {
        let refused = notary.execute(store, &[&seq, head, link]).await.unwrap_err();
        assert_eq!(code(&refused), "23514", "{seq}");
    }
    for isolation in ["REPEATABLE READ", "SERIALIZABLE"] {
        notary.batch_execute(&format!("BEGIN ISOLATION LEVEL {isolation}")).await.unwrap();
        let refused = notary.execute("SELECT * FROM pii_vault.begin_checkpoint()", &[]).await.unwrap_err();
        assert_eq!(code(&refused), "25000");
        notary.batch_execute("ROLLBACK").await.unwrap();
    }
    notary.execute(store, &[&seq, &head, &link]).await.unwrap();
    for sql in [
        "UPDATE pii_vault.checkpoints SET seq = 9",
        "DELETE FROM pii_vault.checkpoints",
        "TRUNCATE pii_vault.checkpoints",
    ] {
        assert_eq!(code(&scene.world.sql.batch_execute(sql).await.unwrap_err()), "42501", "{sql}");
    }
}

fn code(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("", |state| state.code())
}
