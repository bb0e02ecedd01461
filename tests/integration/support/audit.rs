//! Entries of the audit log, made as the commands make them: by the functions, under the logins.

use tokio_postgres::Client;
use uuid::Uuid;

use super::{Who, World};

/// The logins of a small office, and what they did.
pub(crate) struct Story {
    pub(crate) world: World,
    pub(crate) officer: Client,
    pub(crate) approver: Client,
    pub(crate) lookup: Client,
}

impl Story {
    /// A vault with events and a policy: entries 1 and 2.
    pub(crate) async fn begin() -> Self {
        let world = World::vault().await;
        world.allow_raw_events().await;
        world.add_raw_events("2026-01-01", 20).await;
        world.add_raw_events("2026-01-02", 5).await;
        let officer = world.connect(Who::Officer).await;
        let approver = world.connect(Who::Approver).await;
        let lookup = world.connect(Who::Lookup).await;
        let story = Self { world, officer, approver, lookup };
        story.set_policy(10, 1).await;
        story
    }

    /// The same, and one entry of each kind that there is: see the comments.
    pub(crate) async fn told() -> Self {
        let story = Self::begin().await;
        // 3, 4: asked for and approved.
        let grant = story.request("{ip,device_id}", "CASE-1", 100).await;
        story.decide(grant, "approved").await;
        // 5 to 7: 40 values under the grant, in two pages.
        let receipt = story.unmask("{ip,device_id}", "2026-01-01", "CASE-1", false).await;
        story.settle(receipt, 12, "{}", "{}").await;
        story.settle(receipt, 20, "{13}", "{not_authentic}").await;
        // 8, 9: 5 values alone.
        let receipt = story.unmask("{ip}", "2026-01-02", "CASE-2", false).await;
        story.settle(receipt, 5, "{}", "{}").await;
        // 10: would be; 11: is refused, as it is more than one opens alone.
        story.unmask("{ip}", "2026-01-02", "CASE-2", true).await;
        story.unmask("{ip}", "2026-01-01", "CASE-2", false).await;
        // 12, 13: two tokens.
        let sql = "SELECT pii_vault.record_lookup('ip', 2, 'who is it', 'CASE-3')";
        let receipt: Uuid = story.lookup.query_one(sql, &[]).await.expect("recorded").get(0);
        story.lookup.execute("SELECT pii_vault.arm_receipt($1)", &[&receipt]).await.expect("armed");
        let sql = "SELECT pii_vault.settle_lookup($1, ARRAY[repeat('t', 43), repeat('u', 43)])";
        story.lookup.execute(sql, &[&receipt]).await.expect("settled");
        // 14, 15: denied; 16 to 18: approved, and taken back.
        let denied = story.request("{ip}", "CASE-4", 5).await;
        story.decide(denied, "denied").await;
        let revoked = story.request("{ip}", "CASE-5", 5).await;
        story.decide(revoked, "approved").await;
        let sql = "SELECT pii_vault.revoke_access($1, 'not needed')::text";
        story.approver.execute(sql, &[&revoked]).await.expect("revoked");
        story.approver.batch_execute("SELECT pii_vault.chain_revocations()").await.expect("chained");
        // 19: refused by it.
        story.unmask("{ip}", "2026-01-02", "CASE-5", false).await;
        story
    }

    pub(crate) async fn set_policy(&self, alone_limit: i32, approvals: i32) {
        let administrator = self.world.connect(Who::Administrator).await;
        administrator.batch_execute("SET ROLE pii_vault_owner").await.expect("the owner");
        let sql = r"SELECT pii_vault.set_policy($1, $2, 28800, 'CASE-\d+', 'scheduled', 'as agreed')";
        administrator.execute(sql, &[&alone_limit, &approvals]).await.expect("a policy");
    }

    pub(crate) async fn request(&self, fields: &str, case: &str, values: i32) -> Uuid {
        let sql = format!("SELECT request FROM pii_vault.request_access('{fields}', 'fraud', $1, $2, 3600)");
        self.officer.query_one(&sql, &[&case, &values]).await.expect("a request").get(0)
    }

    pub(crate) async fn decide(&self, request: Uuid, verdict: &str) {
        let sql = format!("SELECT pii_vault.decide_access($1, '{verdict}', 'looks right')::text");
        self.approver.execute(&sql, &[&request]).await.expect("decided");
    }

    /// Records it and arms it.
    pub(crate) async fn unmask(&self, fields: &str, day: &str, case: &str, dry: bool) -> Uuid {
        let sql = format!(
            "SELECT pii_vault.record_unmask('{fields}', '{{}}', '{{}}', '{{}}', '{{}}', '{day}', '{day}', 'fraud', $1, NULL, $2)"
        );
        let receipt: Uuid = self.officer.query_one(&sql, &[&case, &dry]).await.expect("recorded").get(0);
        self.officer.execute("SELECT pii_vault.arm_receipt($1)", &[&receipt]).await.expect("armed");
        receipt
    }

    pub(crate) async fn settle(&self, receipt: Uuid, last: i32, ordinals: &str, failures: &str) {
        let sql = format!("SELECT pii_vault.settle_unmask($1, $2, '{ordinals}', '{failures}')");
        self.officer.execute(&sql, &[&receipt, &last]).await.expect("settled");
    }
}
