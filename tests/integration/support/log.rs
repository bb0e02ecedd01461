use serde_json::Value;

use super::World;

impl World {
    /// The rows of the audit log with this action, in order: `{"seq": …, "actor": …, "details": {…}, …}`.
    pub(crate) async fn log(&self, action: &str) -> Vec<Value> {
        let sql = "SELECT coalesce(json_agg(l ORDER BY seq), '[]')::text FROM pii_vault.audit_log AS l \
                   WHERE action = $1::text::pii_vault.audit_action";
        let text: String = self.sql.query_one(sql, &[&action]).await.expect("the log").get(0);
        serde_json::from_str(&text).expect("JSON")
    }
}
