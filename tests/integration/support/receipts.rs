//! The protocol of unmasking by raw SQL: record, arm, fetch, settle.

use tokio_postgres::{Client, Error};
use uuid::Uuid;

use super::{Who, World, sqlstate};

/// A day without rows, unless a test adds them.
pub(crate) const DAY: &str = "2026-01-01";

impl World {
    /// A vault of so many raw rows of [`DAY`], and what an officer may open of them alone.
    pub(crate) async fn to_unmask(rows: usize, alone_limit: u32) -> Self {
        let world = Self::vault().await;
        world.allow_raw_events().await;
        world.add_raw_events(DAY, rows).await;
        world.set_policy(alone_limit).await;
        world
    }

    /// Lets each officer open so many values alone; more needs one approval.
    pub(crate) async fn set_policy(&self, alone_limit: u32) {
        let sql = format!("SELECT pii_vault.set_policy({alone_limit}, 1, 28800, '.+', 'scheduled', 'a test')");
        self.sql.batch_execute(&sql).await.expect("a policy");
    }

    /// What this officer may open for the case C-1, approved by another.
    pub(crate) async fn grant_to(&self, officer: &Client, max_values: u32) -> Uuid {
        let ask = format!("SELECT request FROM pii_vault.request_access('{{ip}}', 'why', 'C-1', {max_values}, 3600)");
        let request: Uuid = officer.query_one(&ask, &[]).await.expect("a request").get(0);
        let approver = self.connect(Who::Approver).await;
        let approve = format!("SELECT pii_vault.decide_access('{request}', 'approved', NULL)");
        approver.batch_execute(&approve).await.expect("approved");
        request
    }

    /// The log is one chain, without gaps from 1 and as its hashes say. Returns its length.
    pub(crate) async fn assert_one_chain(&self) -> i64 {
        let sql = "SELECT count(*), coalesce(max(c.seq), 0), (SELECT seq FROM pii_vault.audit_head),
                count(*) FILTER (WHERE c.right_hash), coalesce((array_agg(c.hash ORDER BY c.seq DESC))[1]
                    = (SELECT hash FROM pii_vault.audit_head), true)
             FROM (SELECT l.seq, l.hash, l.hash = pii_vault.audit_hash((SELECT id FROM pii_vault.vault),
                       lag(l.hash, 1, decode(repeat('00', 32), 'hex')) OVER (ORDER BY l.seq), l) AS right_hash
                   FROM pii_vault.audit_log AS l) AS c";
        let row = self.sql.query_one(sql, &[]).await.expect("a chain");
        let (rows, last, head, right): (i64, i64, i64, i64) = (row.get(0), row.get(1), row.get(2), row.get(3));
        assert_eq!([rows, last, right, head], [head; 4], "gapless, and each hash right");
        assert!(row.get::<_, bool>(4), "and the head is its last");
        head
    }
}

/// An expression that asks for the ips of one day.
pub(crate) fn ask_for(day: &str) -> String {
    format!(
        "pii_vault.record_unmask('{{ip}}', NULL, '{{user}}', NULL, NULL, '{day}', '{day}', 'why', 'C-1', NULL, false)"
    )
}

pub(crate) async fn try_record(officer: &Client) -> Result<Uuid, Error> {
    Ok(officer.query_one(&format!("SELECT {}", ask_for(DAY)), &[]).await?.get(0))
}

pub(crate) async fn record(officer: &Client) -> Uuid {
    try_record(officer).await.expect("an id")
}

/// Why it was refused, or `allowed`.
pub(crate) async fn arm(officer: &Client, receipt: Uuid) -> Result<String, String> {
    let sql = format!("SELECT coalesce(refusal::text, decision::text) FROM pii_vault.arm_receipt('{receipt}')");
    officer.query_one(&sql, &[]).await.map(|row| row.get(0)).map_err(|error| word(&error))
}

pub(crate) async fn record_and_arm(officer: &Client) -> Uuid {
    let receipt = record(officer).await;
    assert_eq!(arm(officer, receipt).await.as_deref(), Ok("allowed"));
    receipt
}

/// How many rows come.
pub(crate) async fn fetch(officer: &Client, receipt: Uuid) -> Result<i64, String> {
    let sql = format!("SELECT count(*) FROM pii_vault.fetch_unmask('{receipt}', 0)");
    officer.query_one(&sql, &[]).await.map(|row| row.get(0)).map_err(|error| word(&error))
}

/// What is shown of a refusal to a client: its word, or its SQLSTATE.
fn word(error: &Error) -> String {
    let error = error.as_db_error().expect("refused by the server");
    error.constraint().map_or_else(|| error.code().code().to_owned(), ToOwned::to_owned)
}

/// Asserts that each is refused for lack of a right.
pub(crate) async fn assert_denied(who: &Client, statements: &[&str]) {
    for sql in statements {
        assert_eq!(sqlstate(who, sql).await.as_deref(), Some("42501"), "{sql}");
    }
}
