//! A vault with a notary, its sinks, and what must hold of what it leaves.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use pii_vault::crypto::checkpoint::{Checkpoint, CheckpointKey, NO_CHECKPOINT, SignedCheckpoint};
use pii_vault::domain::VaultId;
use pii_vault::domain::audit::UnixMicros;

use crate::support::{Running, Who, World};

pub(super) struct Scene {
    pub(super) world: World,
    folder: PathBuf,
    s3: aws_sdk_s3::Client,
}

impl Scene {
    pub(super) async fn new() -> Self {
        let world = World::vault().await;
        let folder = std::env::temp_dir().join(format!("pii-vault-checkpoints-{}", world.id));
        std::fs::create_dir(&folder).expect("a folder");
        let s3 = aws_sdk_s3::Client::new(&world.kms_config().await);
        s3.create_bucket().bucket(&world.id).send().await.expect("a bucket");
        Self { world, folder, s3 }
    }

    pub(super) fn folder(&self) -> &str {
        self.folder.to_str().expect("UTF-8")
    }

    pub(super) fn bucket(&self) -> String {
        format!("s3://{}/copies", self.world.id)
    }

    /// With both sinks.
    pub(super) fn notary(&self, args: &[&str], env: &[(&str, &str)]) -> Running {
        let bucket = self.bucket();
        let sinks = ["audit", "notary", "--output", "json", "--sink", self.folder(), "--sink", &bucket];
        self.world.pii_vault_with(Who::Notary, &[&sinks, args].concat(), env)
    }

    /// With none.
    pub(super) fn bare(&self, args: &[&str]) -> Running {
        self.world.pii_vault(Who::Notary, &[&["audit", "notary", "--output", "json"], args].concat())
    }

    /// Adds an entry, and returns its number.
    pub(super) async fn append(&self) -> i64 {
        self.world.sql.query_one("SELECT pii_vault.record_init(1, false)", &[]).await.expect("an entry").get(0)
    }

    pub(super) async fn wait_until_signed(&self, seq: i64) {
        let condition = format!("pii_vault.checkpoints WHERE seq >= {seq}");
        for _ in 0..600 {
            if self.world.count(&condition).await > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("entry {seq} is not signed");
    }

    pub(super) async fn wait_for_end(&self, running: Running) -> crate::support::Finished {
        tokio::task::spawn_blocking(|| running.finish()).await.expect("it ends")
    }

    /// What the database has, in order.
    pub(super) async fn stored(&self) -> Vec<SignedCheckpoint> {
        let sql = "SELECT v.id, seq, head_hash, previous_hash, (extract(epoch FROM at) * 1000000)::bigint, signing_key, signature \
             FROM pii_vault.checkpoints, pii_vault.vault AS v ORDER BY seq";
        let hash = |bytes: Vec<u8>| bytes.try_into().expect("32 bytes");
        let rows = self.world.sql.query(sql, &[]).await.expect("checkpoints");
        rows.into_iter()
            .map(|row| SignedCheckpoint {
                checkpoint: Checkpoint {
                    vault: VaultId(row.get(0)),
                    seq: row.get(1),
                    head_hash: hash(row.get(2)),
                    previous_hash: hash(row.get(3)),
                    at: UnixMicros(row.get(4)),
                },
                signing_key: row.get(5),
                signature: row.get(6),
            })
            .collect()
    }

    /// One chain: each signed, each after the one before, each for the hash that the log has.
    pub(super) async fn one_chain(&self) -> Vec<SignedCheckpoint> {
        let key = self.key();
        let (stored, mut previous) = (self.stored().await, NO_CHECKPOINT);
        for signed in &stored {
            assert_eq!(signed.verify(&key), Ok(()));
            assert_eq!(signed.checkpoint.previous_hash, previous);
            let sql = "SELECT hash FROM pii_vault.audit_log WHERE seq = $1";
            let hash: Vec<u8> =
                self.world.sql.query_one(sql, &[&signed.checkpoint.seq]).await.expect("an entry").get(0);
            assert_eq!(hash, signed.checkpoint.head_hash);
            previous = signed.checkpoint.hash();
        }
        stored
    }

    /// And both sinks have the very same.
    pub(super) async fn one_chain_everywhere(&self) -> Vec<SignedCheckpoint> {
        let stored = self.one_chain().await;
        let expected: BTreeMap<_, _> = stored
            .iter()
            .map(|signed| (SignedCheckpoint::file_name(signed.checkpoint.seq), signed.to_copy()))
            .collect();
        assert_eq!(self.files(), expected);
        assert_eq!(self.objects().await, expected);
        stored
    }

    /// But for what was on its way to have a name.
    pub(super) fn files(&self) -> BTreeMap<String, String> {
        let entries = std::fs::read_dir(&self.folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        let named =
            entries.filter(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')));
        named
            .map(|path| {
                let content = std::fs::read_to_string(&path).expect("a copy");
                (path.file_name().expect("a name").to_string_lossy().into_owned(), content)
            })
            .collect()
    }

    pub(super) async fn objects(&self) -> BTreeMap<String, String> {
        let listed = self.s3.list_objects_v2().bucket(&self.world.id).send().await.expect("a list");
        let mut objects = BTreeMap::new();
        for key in listed.contents().iter().filter_map(|object| object.key()) {
            let got = self.s3.get_object().bucket(&self.world.id).key(key).send().await.expect("an object");
            let content = String::from_utf8(got.body.collect().await.expect("its body").to_vec()).expect("UTF-8");
            objects.insert(key.strip_prefix("copies/").expect("the prefix").to_owned(), content);
        }
        objects
    }

    pub(super) fn key(&self) -> CheckpointKey {
        let printed = self.world.pii_vault(Who::Auditor, &["audit", "public-key"]).finish().done();
        CheckpointKey::from_pem(&printed.stdout).expect("a public key")
    }

    /// As a superuser can, past the triggers.
    pub(super) async fn tamper(&self, sql: &str) {
        let sql = format!(
            "BEGIN; ALTER TABLE pii_vault.audit_log DISABLE TRIGGER USER; ALTER TABLE pii_vault.checkpoints DISABLE TRIGGER USER; \
             {sql}; \
             ALTER TABLE pii_vault.audit_log ENABLE ALWAYS TRIGGER no_row_is_changed, ENABLE ALWAYS TRIGGER nothing_is_changed; \
             ALTER TABLE pii_vault.checkpoints ENABLE ALWAYS TRIGGER no_row_is_changed, ENABLE ALWAYS TRIGGER nothing_is_changed; \
             COMMIT"
        );
        self.world.sql.batch_execute(&sql).await.expect("what a superuser can");
    }

    /// The database as it was when `seq` was the last entry.
    pub(super) async fn put_back(&self, seq: i64) {
        self.tamper(&format!(
            "DELETE FROM pii_vault.checkpoints WHERE seq > {seq}; DELETE FROM pii_vault.audit_log WHERE seq > {seq}; \
             UPDATE pii_vault.audit_head SET seq = {seq}, hash = (SELECT hash FROM pii_vault.audit_log WHERE seq = {seq})"
        ))
        .await;
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
