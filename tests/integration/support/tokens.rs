//! Tokens of a vault whose token key is rotated, computed anew by the library from what is sealed.

use std::collections::BTreeMap;

use pii_vault::aws::{EncryptionContext, KeyWrapper as _};
use pii_vault::crypto::Tokenizer;
use pii_vault::domain::{ClientIp, DeviceId, KeyId, Purpose};
use serde_json::Value;
use uuid::Uuid;

use super::analyst::Tokens;
use super::{Finished, Running, Who, World, login};

/// Of each event, the number of its login.
pub(crate) type Sent = BTreeMap<Uuid, usize>;

/// Slot a, slot b: ip and device id of each.
pub(crate) type Slots = [Option<(String, String)>; 2];

impl World {
    /// Stores logins of one day, from a file of `count` lines.
    pub(crate) fn import(&self, count: usize) {
        self.import_of("2025-03-09", count);
    }

    pub(crate) fn import_of(&self, day: &str, count: usize) {
        let lines: String = (0..count).map(|number| format!("{}\n", login(number))).collect();
        let args = ["etl", "run", "--input", "-", "--source", "old", "--date", day, "--output", "json"];
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

    /// What is stored, where all of it is of [`login`].
    pub(crate) async fn events_of_logins(&self) -> Sent {
        let sql = "SELECT event_id, substr(user_id, 6)::bigint FROM pii_vault.login_events";
        let stored = self.sql.query(sql, &[]).await.expect("rows");
        stored.iter().map(|row| (row.get(0), row.get::<_, i64>(1).try_into().expect("a number"))).collect()
    }

    /// Every event that was sent is there, once, and opens to what it was.
    pub(crate) async fn assert_all_there(&self, sent: &Sent) {
        let opened = self.opened_events().await;
        assert_eq!(self.count("pii_vault.login_events").await, i64::try_from(sent.len()).expect("few"));
        assert!(opened.keys().eq(sent.keys()), "none lost, and none that was not sent");
        for (event, row) in opened {
            let login = login(sent[&event]);
            assert_eq!([&login["user_id"], &login["ip"], &login["device_id"]], [&row.user_id, &row.ip, &row.device_id]);
        }
    }

    /// The view shows tokens of the active key, which are those of what the rows open to.
    pub(crate) async fn assert_shown(&self, some: &Sent) {
        let active = "SELECT * FROM pii_vault.token_keys WHERE state = 'active'";
        let tokens = tokens_of(&self.tokenizers_of(active).await[0], some);
        let opened = self.opened_events_of(&some.keys().copied().collect::<Vec<_>>()).await;
        let rows = self.sql.query("SELECT event_id, masked_ip::text, masked_device_id::text FROM user_logins", &[]);
        let shown: Tokens =
            rows.await.expect("the view").iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
        for (event, number) in some {
            let login = login(*number);
            assert_eq!([&login["ip"], &login["device_id"]], [&opened[event].ip, &opened[event].device_id]);
            assert_eq!(shown[event], tokens[event]);
        }
    }

    /// What makes the tokens of each slot, by the one key that was made for it last.
    pub(crate) async fn tokenizers(&self) -> Vec<Tokenizer> {
        self.tokenizers_of("SELECT DISTINCT ON (slot) * FROM pii_vault.token_keys ORDER BY slot, created_at DESC").await
    }

    /// The tokens of logins under each key that there was, in the order in which they were made.
    pub(crate) async fn tokens_by_key(&self, sent: &Sent) -> Vec<Tokens> {
        let tokenizers = self.tokenizers_of("SELECT * FROM pii_vault.token_keys ORDER BY created_at").await;
        tokenizers.iter().map(|tokenizer| tokens_of(tokenizer, sent)).collect()
    }

    async fn tokenizers_of(&self, keys: &str) -> Vec<Tokenizer> {
        let (vault, kms) = (self.vault_id().await, self.kms().await);
        let sql = format!("SELECT id, wrapped_key::bytea, kms_key FROM ({keys}) AS k");
        let mut tokenizers = Vec::new();
        for row in self.sql.query(&sql, &[]).await.expect("keys") {
            let context = EncryptionContext { vault, purpose: Purpose::Token, key: KeyId(row.get(0)) };
            let key = kms.unwrap(row.get(2), row.get(1), context).await.expect("KMS unwraps it");
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

fn tokens_of(tokenizer: &Tokenizer, sent: &Sent) -> Tokens {
    let text = |login: &Value, member: &str| login[member].as_str().unwrap().to_owned();
    let of = |(event, number): (&Uuid, &usize)| {
        let login = login(*number);
        let ip = tokenizer.ip(&ClientIp::parse(text(&login, "ip")).unwrap());
        let device_id = tokenizer.device_id(&DeviceId::parse(text(&login, "device_id")).unwrap());
        (*event, (ip.to_string(), device_id.to_string()))
    };
    sent.iter().map(of).collect()
}
