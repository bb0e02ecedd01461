//! What unmasking needs, and how it is asked for.

use serde_json::Value;
use uuid::Uuid;

use super::{Finished, Running, Who, World};

impl World {
    /// What the officer asked for and the approver approved.
    pub(crate) async fn grant(&self, fields: &str, case: &str, max_values: i32) -> Uuid {
        let (officer, approver) = (self.connect(Who::Officer).await, self.connect(Who::Approver).await);
        let request = format!(
            "SELECT request FROM pii_vault.request_access('{{{fields}}}', 'a test', '{case}', {max_values}, 3600)"
        );
        let request: Uuid = officer.query_one(&request, &[]).await.expect("a request").get(0);
        approver
            .batch_execute(&format!("SELECT pii_vault.decide_access('{request}', 'approved', NULL)"))
            .await
            .expect("approved");
        request
    }

    pub(crate) fn start_unmask(&self, args: &[&str]) -> Running {
        let unmask = ["unmask", "--reason", "a test", "--case", "C-1", "--output", "json"];
        self.pii_vault(Who::Officer, &[&unmask, args].concat())
    }

    pub(crate) fn unmask(&self, args: &[&str]) -> Finished {
        self.start_unmask(args).finish()
    }

    /// What the audit log has of an action: refusal and details.
    pub(crate) async fn audited(&self, action: &str) -> Vec<(Option<String>, Value)> {
        let sql = format!(
            "SELECT refusal::text, details::text FROM pii_vault.audit_log WHERE action = '{action}' ORDER BY seq"
        );
        let rows = self.sql.query(&sql, &[]).await.expect("the log");
        rows.iter().map(|row| (row.get(0), serde_json::from_str(row.get(1)).expect("JSON"))).collect()
    }
}

impl Finished {
    /// The rows, of `--format json` to standard output.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        json_lines(&self.stdout)
    }

    /// The summary beside rows: the last line of standard error.
    #[track_caller]
    pub(crate) fn summary(&self) -> Value {
        let line = self.stderr.lines().rfind(|line| line.starts_with('{')).expect("a summary");
        serde_json::from_str(line).expect("JSON")
    }
}

#[track_caller]
pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}
