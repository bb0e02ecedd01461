//! Rotations of keys by SQL alone, for what is about jobs and not about what they do.

use tokio_postgres::Client;
use uuid::Uuid;

use super::World;

impl World {
    /// Lets any session record jobs and steps of them, as the functions of each kind do.
    pub(crate) async fn allow_raw_rotations(&self) {
        self.sql
            .batch_execute(
                "CREATE FUNCTION public.begin_job(job jsonb) RETURNS uuid LANGUAGE sql SECURITY DEFINER AS $$
                     SELECT pii_vault.begin_rotation(jsonb_populate_record(NULL::pii_vault.rotation_jobs, job), '{}')
                 $$;
                 CREATE FUNCTION public.note_job(job uuid, word text, next_step pii_vault.rotation_step) RETURNS void
                 LANGUAGE sql SECURITY DEFINER AS $$
                     SELECT pii_vault.note_rotation(j, word, 'decided', '{}') FROM pii_vault.rotation_jobs AS j WHERE j.id = job;
                     UPDATE pii_vault.rotation_jobs AS j
                     SET step = next_step, changed = CASE next_step WHEN 'emptying' THEN 0 ELSE changed END,
                         ended_at = CASE next_step WHEN 'done' THEN clock_timestamp() END
                     WHERE j.id = job
                 $$;
                 CREATE FUNCTION public.map_tokens(job uuid) RETURNS uuid LANGUAGE sql SECURITY DEFINER AS $$
                     SELECT pii_vault.record_handout(j, 'token_map', 'decided', '{}', NULL, NULL)
                     FROM pii_vault.rotation_jobs AS j WHERE j.id = job
                 $$",
            )
            .await
            .expect("functions");
    }
}

/// Records a job of data keys to leave.
pub(crate) async fn begin_reseal(client: &Client, keys: &[Uuid], total: i64) -> Uuid {
    let keys: Vec<_> = keys.iter().map(Uuid::to_string).collect();
    let job = serde_json::json!({
        "kind": "data-key", "purpose": "data", "reason": "too old", "old_keys": keys, "total": total
    });
    begin(client, &job).await
}

pub(crate) async fn begin(client: &Client, job: &serde_json::Value) -> Uuid {
    let sql = "SELECT public.begin_job($1::text::jsonb)";
    client.query_one(sql, &[&job.to_string()]).await.expect("a job").get(0)
}

pub(crate) async fn note(client: &Client, job: Uuid, word: &str, next: &str) {
    let sql = format!("SELECT public.note_job($1, '{word}', '{next}')");
    client.execute(&sql, &[&job]).await.expect("a step");
}
