//! Grants: the commands about them, and what raw SQL may open by them.

use serde_json::Value;
use tokio_postgres::Client;

use super::{Finished, Who, World};

impl World {
    /// The policy, by the command. What `args` do not name has the defaults.
    pub(crate) fn policy_set(&self, args: &[&str]) -> Value {
        let set = ["access", "policy", "set", "--reason", "a test", "--output", "json"];
        self.pii_vault(Who::Administrator, &[&set, args].concat()).finish().done().json()
    }

    /// `pii-vault access … --output json`.
    pub(crate) fn access(&self, who: Who, args: &[&str]) -> Finished {
        self.pii_vault(who, &[&["access"], args, &["--output", "json"]].concat()).finish()
    }

    /// Asks for both fields of one case for an hour.
    pub(crate) fn request(&self, who: Who, case: &str, max_values: &str) -> Finished {
        let fields = ["request", "--fields", "ip,device_id", "--case", case, "--max-values", max_values];
        self.access(who, &[&fields[..], &["--for", "1h", "--reason", "a theft"]].concat())
    }

    /// The id of a request that is taken.
    #[track_caller]
    pub(crate) fn requested(&self, who: Who, case: &str, max_values: &str) -> String {
        self.request(who, case, max_values).done().json()["id"].as_str().expect("an id").to_owned()
    }

    /// Rows of the audit log from `seq` on: `action` or `action refusal`.
    pub(crate) async fn actions_from(&self, from: i64) -> Vec<String> {
        let sql = "SELECT concat_ws(' ', action, refusal) FROM pii_vault.audit_log WHERE seq >= $1 ORDER BY seq";
        self.sql.query(sql, &[&from]).await.expect("the log").iter().map(|row| row.get(0)).collect()
    }

    /// What becomes of a grant, as the database has it at this moment.
    pub(crate) async fn state(&self, id: &str) -> String {
        let sql = format!("SELECT state::text FROM pii_vault.access_grants WHERE id = '{id}'");
        self.sql.query_one(&sql, &[]).await.expect("a request").get(0)
    }
}

/// Records, by raw SQL, that `fields` of all rows of a day are to be opened; who pays, or why nobody does.
pub(crate) async fn record(officer: &Client, fields: &str, case: &str, day: &str, grant: Option<&str>) -> String {
    let grant = grant.map_or("NULL".to_owned(), |id| format!("'{id}'"));
    let sql = format!(
        "SELECT pii_vault.record_unmask('{{{fields}}}', NULL, NULL, NULL, NULL, '{day}', '{day}', 'why', '{case}', {grant}, \
         false)::text"
    );
    let receipt: String = officer.query_one(&sql, &[]).await.expect("an id").get(0);
    let arm =
        format!("SELECT coalesce(refusal::text, grant_id::text, 'alone') FROM pii_vault.arm_receipt('{receipt}')");
    officer.query_one(&arm, &[]).await.expect("a decision").get(0)
}
