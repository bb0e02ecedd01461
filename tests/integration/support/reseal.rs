//! Rotations of data keys: rows of several keys to begin with, and what becomes of them.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use super::{Finished, Running, Who, World, login};

pub(crate) const DAY: &str = "2026-03-31";

impl World {
    /// Ingests `count` logins of [`DAY`] by each of `processes`, hence under so many data keys.
    pub(crate) fn ingest(&self, processes: usize, count: usize) {
        for process in 0..processes {
            self.ingest_more(&format!("process-{process}"), count);
        }
    }

    /// One process more.
    pub(crate) fn ingest_more(&self, source: &str, count: usize) {
        let lines: String = (0..count).map(|number| format!("{}\n", login(number))).collect();
        let args = ["etl", "run", "--input", "-", "--source", source, "--date", DAY];
        self.pii_vault_given(Who::Ingest, &args, &[], lines.as_bytes()).finish().done();
    }

    /// `pii-vault key-rotation data-key … --output json`, as the service that rotates.
    pub(crate) fn start_data_key(&self, args: &[&str]) -> Running {
        self.start_data_key_with(args, &[])
    }

    pub(crate) fn start_data_key_with(&self, args: &[&str], env: &[(&str, &str)]) -> Running {
        let all = [&["key-rotation", "data-key"], args, &["--output", "json"]].concat();
        self.pii_vault_with(Who::Reseal, &all, env)
    }

    pub(crate) fn data_key(&self, args: &[&str]) -> Finished {
        self.start_data_key(args).finish()
    }

    /// Every event with all that is in it, opened.
    pub(crate) async fn events_as_text(&self) -> BTreeMap<Uuid, String> {
        self.opened_events().await.into_iter().map(|(id, event)| (id, format!("{event:?}"))).collect()
    }

    /// Rows under keys that seal nothing any more.
    pub(crate) async fn rows_under_old_keys(&self) -> i64 {
        self.count(
            "pii_vault.login_events AS e LEFT JOIN pii_vault.data_keys AS k ON k.id = e.data_key_id \
             WHERE k.state IS DISTINCT FROM 'active'",
        )
        .await
    }

    /// Waits until the one rotation has changed this many rows.
    pub(crate) async fn wait_for_resealed(&self, rows: i64) {
        for _ in 0..3_000 {
            if self.count(&format!("pii_vault.rotation_jobs WHERE changed >= {rows}")).await > 0 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the rotation did not change {rows} rows");
    }

    /// Steps of rotations in the log, in order.
    pub(crate) async fn rotation_steps(&self) -> Vec<String> {
        let log = self.log("key_rotation").await;
        log.iter().map(|entry| entry["details"]["step"].as_str().expect("a step").to_owned()).collect()
    }
}

/// `ended`, `changed` and `failed` of a run.
#[track_caller]
pub(crate) fn ended(run: &Value) -> (&str, u64, u64) {
    let count = |member: &str| run[member].as_u64().unwrap_or_else(|| panic!("{member} of {run}"));
    (run["ended"].as_str().expect("how it ended"), count("changed"), count("failed"))
}
