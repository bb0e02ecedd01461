//! What comes before a cut-over of tokens, and what is seen of it in the database.

use serde_json::Value;

use super::{Finished, Running, Who, World};

impl World {
    /// Starts `key-rotation token-key …` as the administrator.
    pub(crate) fn administer(&self, args: &[&str]) -> Running {
        self.pii_vault(Who::Administrator, &[&["key-rotation", "token-key"], args, &["--output", "json"]].concat())
    }

    /// Makes the next token key and fills its slot, by `run`.
    pub(crate) fn fill_other_slot(&self) -> Finished {
        let run = ["key-rotation", "token-key", "run", "--reason", "a test"];
        self.pii_vault(Who::Reseal, &run).finish().done()
    }

    /// The same by SQL, for what is not about what is in the rows: `count` rows over three months, and a key that no KMS
    /// knows. Every tenth has the ip of the one before.
    pub(crate) async fn fill_other_slot_raw(&self, count: usize) {
        self.sql
            .batch_execute(&format!(
                "CREATE OR REPLACE FUNCTION public.tok(v text) RETURNS text LANGUAGE sql IMMUTABLE AS
                     $$ SELECT translate(encode(sha256(convert_to(v, 'UTF8')), 'base64'), '+/=', '-_') $$;
                 SET ROLE pii_vault_owner;
                 SELECT pii_vault.ensure_month(current_date), pii_vault.ensure_month((current_date - interval '1 month')::date);
                 RESET ROLE;
                 INSERT INTO pii_vault.login_events (create_date, event_id, user_id, device_type, app_version,
                     ip_ciphertext, device_id_ciphertext, data_key_id, ip_token_a, device_id_token_a, token_key_a)
                 SELECT date_trunc('month', current_date)::date - 40 + n % 50, gen_random_uuid(), 'user', 'ios', '1',
                     decode(repeat('00', 81), 'hex'), decode(repeat('00', 65), 'hex'), gen_random_uuid(),
                     public.tok('a' || 'i' || n - CASE WHEN n % 10 = 0 THEN 1 ELSE 0 END), public.tok('a' || 'd' || n % 7), k.id
                 FROM generate_series(1, {count}) AS n, pii_vault.token_keys AS k WHERE k.state = 'active' AND k.slot = 'a';
                 INSERT INTO pii_vault.token_keys (id, slot, state, wrapped_key, kms_key, commitment)
                 VALUES (gen_random_uuid(), 'b', 'pending', decode(repeat('00', 40), 'hex'), 'none', decode(repeat('00', 32), 'hex'));
                 UPDATE pii_vault.login_events SET ip_token_b = public.tok('b' || ip_token_a),
                     device_id_token_b = public.tok('b' || device_id_token_a),
                     token_key_b = (SELECT id FROM pii_vault.token_keys WHERE state = 'pending');
                 INSERT INTO pii_vault.rotation_jobs (kind, purpose, seq, recorded_at, reason, old_keys, new_key, old_slot, step, total)
                 SELECT 'token-key', 'token', -1, clock_timestamp(), 'a test', ARRAY[a.id], p.id, 'a', 'filled', {count}
                 FROM pii_vault.token_keys AS a, pii_vault.token_keys AS p WHERE a.state = 'active' AND p.state = 'pending';
                 INSERT INTO pii_vault.rotation_scans SELECT id FROM pii_vault.rotation_jobs",
            ))
            .await
            .expect("a filled slot");
    }

    /// Step of the one rotation of the token key that is not done, or `done`.
    pub(crate) async fn rotation_step(&self) -> String {
        let sql = "SELECT coalesce((SELECT step::text FROM pii_vault.rotation_jobs
                   WHERE kind = 'token-key' AND step <> 'done'), 'done')";
        self.sql.query_one(sql, &[]).await.expect("a step").get(0)
    }

    /// State of the token keys by slot, and the slot that shows: `a active, b pending; a`.
    pub(crate) async fn token_states(&self) -> String {
        let sql = "SELECT string_agg(slot::text || ' ' || state, ', ' ORDER BY slot, created_at) || '; '
                   || coalesce(pii_vault.shown_slot()::text, '?') FROM pii_vault.token_keys";
        self.sql.query_one(sql, &[]).await.expect("states").get(0)
    }

    /// Checks and indexes that a rotation brings and takes along.
    pub(crate) async fn slot_traces(&self) -> Vec<String> {
        let sql = "SELECT conname::text FROM pg_constraint WHERE conrelid = 'pii_vault.login_events'::regclass
                       AND conname ~ 'slot_._is_filled'
                   UNION ALL SELECT a.attname::text FROM pg_index AS i
                   JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum::text = i.indkey::text
                   WHERE i.indrelid = 'pii_vault.login_events'::regclass AND a.attname ~ '_token_' AND i.indisvalid ORDER BY 1";
        self.sql.query(sql, &[]).await.expect("the catalog").iter().map(|row| row.get(0)).collect()
    }

    pub(crate) async fn slot_a_rows(&self) -> i64 {
        self.count("pii_vault.login_events WHERE token_key_a IS NOT NULL").await
    }

    pub(crate) async fn slot_b_rows(&self) -> i64 {
        self.count("pii_vault.login_events WHERE token_key_b IS NOT NULL").await
    }

    /// Steps of rotations as the audit log has them, with their details.
    pub(crate) async fn rotation_log(&self) -> Vec<(String, Value)> {
        let entries = self.audited("key_rotation").await;
        entries
            .into_iter()
            .map(|(_, details)| (details["step"].as_str().expect("a step").to_owned(), details))
            .collect()
    }
}
