//! Tokens of a vault whose token key is rotated, computed anew by the library from what is sealed.

use std::collections::BTreeMap;

use pii_vault::aws::{EncryptionContext, KeyWrapper as _};
use pii_vault::crypto::Tokenizer;
use pii_vault::domain::{ClientIp, DeviceId, KeyId, Purpose};
use serde_json::Value;
use uuid::Uuid;

use super::{Finished, Running, Who, World, login};

/// Slot a, slot b: ip and device id of each.
pub(crate) type Slots = [Option<(String, String)>; 2];

impl World {
    /// Stores logins of one day, from a file of `count` lines.
    pub(crate) fn import(&self, count: usize) {
        let lines: String = (0..count).map(|number| format!("{}\n", login(number))).collect();
        let args = ["etl", "run", "--input", "-", "--source", "old", "--date", "2025-03-09", "--output", "json"];
        let summary = self.pii_vault_given(Who::Ingest, &args, &[], lines.as_bytes()).finish().done().json();
        assert_eq!(summary["stored"], count);
    }

    pub(crate) fn start_token_key(&self, args: &[&str]) -> Running {
        self.start_token_key_with(args, &[])
    }

    pub(crate) fn start_token_key_with(&self, args: &[&str], env: &[(&str, &str)]) -> Running {
        let command = ["key-rotation", "token-key"];
        self.pii_vault_with(Who::Reseal, &[&command, args, &["--output", "json"]].concat(), env)
    }

    pub(crate) fn token_key(&self, args: &[&str]) -> Finished {
        self.start_token_key(args).finish()
    }

    /// What makes the tokens of each slot, by the one key that was made for it last.
    pub(crate) async fn tokenizers(&self) -> Vec<Tokenizer> {
        let vault = self.vault_id().await;
        let sql = "SELECT DISTINCT ON (slot) id, wrapped_key::bytea, kms_key FROM pii_vault.token_keys \
                   ORDER BY slot, created_at DESC";
        let mut tokenizers = Vec::new();
        for row in self.sql.query(sql, &[]).await.expect("keys") {
            let context = EncryptionContext { vault, purpose: Purpose::Token, key: KeyId(row.get(0)) };
            let key = self.kms().await.unwrap(row.get(2), row.get(1), context).await.expect("KMS unwraps it");
            tokenizers.push(Tokenizer::new(&key));
        }
        tokenizers
    }

    pub(crate) async fn slots(&self) -> BTreeMap<Uuid, Slots> {
        let sql = "SELECT event_id, ip_token_a::text, device_id_token_a::text, ip_token_b::text, \
                   device_id_token_b::text FROM pii_vault.login_events";
        let rows = self.sql.query(sql, &[]).await.expect("rows");
        let slot = |row: &tokio_postgres::Row, first: usize| {
            row.get::<_, Option<String>>(first).zip(row.get::<_, Option<String>>(first + 1))
        };
        rows.iter().map(|row| (row.get(0), [slot(row, 1), slot(row, 3)])).collect()
    }

    /// Every row has the tokens of its values under the key of each slot.
    pub(crate) async fn assert_both_slots_are_right(&self) {
        let (tokenizers, slots) = (self.tokenizers().await, self.slots().await);
        assert_eq!(tokenizers.len(), 2);
        for (event, opened) in self.opened_events().await {
            let (ip, device_id) = (ClientIp::parse(opened.ip).unwrap(), DeviceId::parse(opened.device_id).unwrap());
            for (slot, tokenizer) in slots[&event].iter().zip(&tokenizers) {
                let right = (tokenizer.ip(&ip).to_string(), tokenizer.device_id(&device_id).to_string());
                assert_eq!(slot.as_ref(), Some(&right), "{event}");
            }
        }
    }

    /// The rotation of the token key that is not done.
    pub(crate) async fn token_job(&self) -> Value {
        let sql = "SELECT row_to_json(j)::text FROM pii_vault.rotation_jobs AS j WHERE kind = 'token-key'";
        let text: String = self.sql.query_one(sql, &[]).await.expect("a job").get(0);
        serde_json::from_str(&text).expect("JSON")
    }
}
