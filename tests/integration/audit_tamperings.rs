//! Ten tamperings by a superuser, each named by `audit verify`: of the database, and of an export of it, with copies of
//! checkpoints and the public key from elsewhere.

use std::path::{Path, PathBuf};

use pii_vault::crypto::checkpoint::SignedCheckpoint;
use serde_json::Value;

use crate::support::{Finished, Running, Story, Who, lay_hands_on, put_back};

/// What is done, and the word and entry by which it is found.
struct Tampering {
    name: &'static str,
    sql: String,
    /// In the database.
    online: &'static [(&'static str, i64)],
    /// In an export of it; none: what was changed is not in an export.
    offline: &'static [(&'static str, i64)],
}

fn ten() -> Vec<Tampering> {
    let tampering = |name, sql: &str, online, offline| Tampering { name, sql: sql.to_owned(), online, offline };
    let both = |name, sql: &str, found| tampering(name, sql, found, found);
    let rewind = "DELETE FROM pii_vault.audit_log WHERE seq > 19; DELETE FROM pii_vault.checkpoints WHERE seq > 19;
         UPDATE pii_vault.audit_head SET seq = 19, hash = (SELECT hash FROM pii_vault.audit_log WHERE seq = 19)";
    let grant =
        "INSERT INTO pii_vault.access_requests SELECT '00000000-0000-4000-8000-000000000001', requested_at, requester,
             fields, reason, case_id, 1000, duration_seconds, approvals_needed FROM pii_vault.access_requests LIMIT 1;
         INSERT INTO pii_vault.access_decisions SELECT '00000000-0000-4000-8000-000000000001', requester, 'someone',
             requested_at, 'approved' FROM pii_vault.access_requests LIMIT 1";
    // The request of entry 3 and its approval once more, under another id, before entry 14.
    let logged_grant = "UPDATE pii_vault.audit_log SET seq = seq + 1000 WHERE seq >= 14;
         UPDATE pii_vault.audit_log SET seq = seq - 998 WHERE seq >= 1014;
         INSERT INTO pii_vault.audit_log SELECT seq + 11, at, action, actor, role, client_address, claimed_host,
             claimed_version, decision, refusal, reason, case_id, '00000000-0000-4000-8000-000000000001', details, hash
         FROM pii_vault.audit_log WHERE seq IN (3, 4);
         SELECT public.rechain()";
    let widen = "INSERT INTO pii_vault.receipt_rows SELECT r.id, 6, '2026-01-01', e.event_id
         FROM pii_vault.receipts AS r, pii_vault.login_events AS e WHERE r.seq = 8 AND e.create_date = '2026-01-01' LIMIT 1";
    let insert = "UPDATE pii_vault.audit_log SET seq = seq + 1000 WHERE seq >= 9;
         UPDATE pii_vault.audit_log SET seq = seq - 999 WHERE seq >= 1009;
         INSERT INTO pii_vault.audit_log SELECT 9, at, action, actor, role, client_address, claimed_host,
             claimed_version, decision, refusal, reason, case_id, subject, details, hash
         FROM pii_vault.audit_log WHERE seq = 8;
         UPDATE pii_vault.audit_head SET seq = 23";
    let resign =
        "UPDATE pii_vault.checkpoints AS c SET head_hash = l.hash FROM pii_vault.audit_log AS l WHERE l.seq = c.seq";
    vec![
        both("edited row", "UPDATE pii_vault.audit_log SET reason = 'another' WHERE seq = 8", &[("hash", 8)]),
        both("removed row", "DELETE FROM pii_vault.audit_log WHERE seq = 8", &[("gap", 9)]),
        both(
            "removed tail",
            "DELETE FROM pii_vault.audit_log WHERE seq > 20;
             UPDATE pii_vault.audit_head SET seq = 20, hash = (SELECT hash FROM pii_vault.audit_log WHERE seq = 20)",
            &[("checkpoint_ahead", 21)],
        ),
        both(
            "reordered",
            "UPDATE pii_vault.audit_log SET seq = 1000 WHERE seq = 8; UPDATE pii_vault.audit_log SET seq = 8 WHERE seq = 9;
             UPDATE pii_vault.audit_log SET seq = 9 WHERE seq = 1000",
            &[("hash", 8)],
        ),
        both("inserted", insert, &[("hash", 9)]),
        both(
            "re-chained from genesis",
            "UPDATE pii_vault.audit_log SET claimed_host = 'another' WHERE seq = 8; SELECT public.rechain()",
            &[("checkpoint_head", 19)],
        ),
        both(
            "re-chained from genesis, with checkpoints that fit",
            &format!("UPDATE pii_vault.audit_log SET claimed_host = 'another' WHERE seq = 1; SELECT public.rechain(); {resign}"),
            &[("checkpoint_head", 19), ("checkpoint_signature", 19)],
        ),
        both("restored older snapshot", rewind, &[("checkpoint_ahead", 21)]),
        both(
            "restored older snapshot that went on",
            &format!("{rewind}; SELECT pii_vault.record_init(7, false) FROM generate_series(1, 4)"),
            &[("checkpoint_head", 21)],
        ),
        tampering("inserted approved grant", grant, &[("access_requests_not_logged", 0), ("access_decisions_not_logged", 0)], &[]),
        both("inserted approved grant, in the log too", logged_grant, &[("checkpoint_head", 19)]),
        tampering("widened list of a receipt", widen, &[("list", 8)], &[]),
        both(
            "swapped checkpoint",
            "UPDATE pii_vault.checkpoints AS a SET head_hash = b.head_hash, previous_hash = b.previous_hash, at = b.at,
                 signature = b.signature FROM pii_vault.checkpoints AS b WHERE a.seq <> b.seq",
            &[("checkpoint_link", 19), ("checkpoint_signature", 19)],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_ten_tamperings_is_named() {
    let scene = Scene::told().await;
    scene.verify().done();
    scene.verify_export().done();
    lay_hands_on(&scene.story.world).await;
    for Tampering { name, sql, online, offline } in ten() {
        scene.story.world.sql.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_found(name, &scene.verify().exits(4), online);
        match offline {
            [] => drop(scene.verify_export().done()),
            _ => assert_found(name, &scene.verify_export().exits(4), offline),
        }
        put_back(&scene.story.world).await;
    }
    scene.verify().done();
}

/// Without copies, without a key: what each of them is for.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_lies_elsewhere_shows_some_of_them() {
    let scene = Scene::told().await;
    let world = &scene.story.world;
    lay_hands_on(world).await;
    let verify = |args: &[&str]| {
        world.pii_vault(Who::Auditor, &[&["audit", "verify", "--output", "json"], args].concat()).finish()
    };
    let key = scene.key.to_str().unwrap();
    let all = ten();
    let sql_of = |name: &str| all.iter().find(|tampering| tampering.name == name).unwrap().sql.clone();
    // The database as it was: signatures cannot tell, copies can.
    world.sql.batch_execute(&sql_of("restored older snapshot")).await.unwrap();
    verify(&["--public-key", key]).done();
    assert_found("copies", &verify(&["--checkpoints", scene.copies()]).exits(4), &[("checkpoint_ahead", 21)]);
    put_back(world).await;
    // All made to fit: rows cannot tell without the key.
    let fits = sql_of("re-chained from genesis, with checkpoints that fit");
    let links = "UPDATE pii_vault.checkpoints AS c SET previous_hash = sha256(pii_vault.checkpoint_bytes(v.id, b))
         FROM pii_vault.checkpoints AS b, pii_vault.vault AS v WHERE c.seq = 21 AND b.seq = 19";
    world.sql.batch_execute(&format!("{fits}; {links}")).await.unwrap();
    let notes = verify(&[]).done().json()["notes"].to_string();
    assert!(notes.contains("signatures"), "{notes}");
    assert_found("a key", &verify(&["--public-key", key]).exits(4), &[("checkpoint_signature", 19)]);
}

/// Who can write where the copies are.
#[tokio::test(flavor = "multi_thread")]
async fn copies_that_were_altered_are_named() {
    let scene = Scene::told().await;
    let [first, second] = [19, 21].map(|seq| scene.folder.join("copies").join(SignedCheckpoint::file_name(seq)));
    let [one, two] = [&first, &second].map(|path| std::fs::read_to_string(path).unwrap());
    let put = |path: &Path, content: &str| std::fs::write(path, content).unwrap();

    put(&second, &one);
    assert_found("another's name", &scene.verify_export().exits(4), &[("checkpoint_copy", 21)]);
    put(&second, "");
    assert_found("emptied", &scene.verify_export().exits(4), &[("checkpoint_copy", 21)]);
    let signed = SignedCheckpoint::from_copy(two.as_bytes()).unwrap();
    let mut altered = signed.clone();
    altered.checkpoint.head_hash = [7; 32];
    put(&second, &altered.to_copy());
    assert_found("altered", &scene.verify_export().exits(4), &[("checkpoint_signature", 21)]);
    // Without a key nobody can tell which of two is the true one.
    let bare = scene.verify_export_with(&["--checkpoints", scene.copies()]);
    assert_found("two heads", &bare.exits(4), &[("checkpoint_head", 21), ("checkpoint_conflict", 21)]);
    put(&second, &two);

    // A copy that is gone may never have been written; that all are gone is no coincidence.
    std::fs::remove_file(&first).unwrap();
    let words = |report: Value| -> Vec<String> {
        report["notes"].as_array().unwrap().iter().map(|note| note["word"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(words(scene.verify_export().done().json()), ["checkpoint_uncopied", "unsigned"]);
    let export = scene.export(&[]).stdout;
    let without_rows: String = export.split_inclusive('\n').filter(|line| !line.contains("v1/checkpoint\"")).collect();
    let report = scene.verify_text(&without_rows, &scene.trusted()).finish().done().json();
    assert_eq!(words(report), ["checkpoint_gap", "checkpoint_unstored", "unsigned"]);
    put(&first, &one);

    // The key of another vault.
    let other = Scene::told().await;
    let foreign =
        scene.verify_export_with(&["--checkpoints", scene.copies(), "--public-key", other.key.to_str().unwrap()]);
    assert_found("another key", &foreign.exits(4), &[("checkpoint_signature", 19), ("no_checkpoint", 1)]);
    let foreign =
        scene.verify_export_with(&["--checkpoints", other.copies(), "--public-key", scene.key.to_str().unwrap()]);
    assert_found("another vault", &foreign.exits(4), &[("checkpoint_vault", 19)]);
}

/// All of these, be there others.
pub(crate) fn assert_found(what: &str, finished: &Finished, expected: &[(&str, i64)]) {
    let report: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    let findings = report["findings"].as_array().unwrap();
    for (word, seq) in expected {
        let is_it = |finding: &Value| finding["word"] == *word && finding["seq"].as_i64().unwrap_or(0) == *seq;
        assert!(findings.iter().any(is_it), "{what}: {word} at {seq}, not in {findings:#?}");
    }
}

/// 22 entries, with checkpoints for 19 and 21, of which there are copies, and the key.
pub(crate) struct Scene {
    pub(crate) story: Story,
    pub(crate) folder: PathBuf,
    pub(crate) key: PathBuf,
}

impl Scene {
    pub(crate) async fn told() -> Self {
        let story = Story::told().await;
        let folder = std::env::temp_dir().join(format!("pii-vault-evidence-{}", story.world.id));
        std::fs::create_dir_all(folder.join("copies")).unwrap();
        let key = folder.join("key.pem");
        let scene = Self { story, folder, key };
        let world = &scene.story.world;
        let sign =
            || drop(world.pii_vault(Who::Notary, &["audit", "checkpoint", "--sink", scene.copies()]).finish().done());
        sign();
        scene.append().await;
        scene.append().await;
        sign();
        scene.append().await;
        let pem = world.pii_vault(Who::Auditor, &["audit", "public-key"]).finish().done().stdout;
        std::fs::write(&scene.key, pem).unwrap();
        scene
    }

    pub(crate) async fn append(&self) {
        self.story.world.sql.execute("SELECT pii_vault.record_init(1, false)", &[]).await.expect("an entry");
    }

    pub(crate) fn copies(&self) -> &str {
        let path = self.folder.join("copies");
        // It is as long-lived as the scene.
        Box::leak(path.into_os_string().into_string().unwrap().into_boxed_str())
    }

    pub(crate) fn trusted(&self) -> [&str; 4] {
        ["--checkpoints", self.copies(), "--public-key", self.key.to_str().unwrap()]
    }

    /// Of the database.
    pub(crate) fn verify(&self) -> Finished {
        let args = [["audit", "verify", "--output", "json"], self.trusted()].concat();
        self.story.world.pii_vault(Who::Auditor, &args).finish()
    }

    /// Of a new export.
    pub(crate) fn verify_export(&self) -> Finished {
        self.verify_export_with(&self.trusted())
    }

    pub(crate) fn verify_export_with(&self, trusted: &[&str]) -> Finished {
        let export = self.export(&[]).stdout;
        self.verify_text(&export, trusted).finish()
    }

    pub(crate) fn export(&self, args: &[&str]) -> Finished {
        self.story.world.pii_vault(Who::Auditor, &[&["audit", "export"], args].concat()).finish().done()
    }

    /// With neither database nor AWS.
    pub(crate) fn verify_text(&self, export: &str, trusted: &[&str]) -> Running {
        let args = [&["audit", "verify", "--output", "json", "--export", "-"], trusted].concat();
        let nowhere = [("DATABASE_URL", "postgres://nowhere.invalid/"), ("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:9")];
        self.story.world.pii_vault_given(Who::Auditor, &args, &nowhere, export.as_bytes())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
