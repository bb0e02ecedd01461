//! Long transactions, cursors and old snapshots do not carry a right past its end.

use std::time::Duration;

use uuid::Uuid;

use crate::support::receipts::{DAY, arm, fetch, record, record_and_arm};
use crate::support::{Who, World};

fn refused(word: &str) -> Result<i64, String> {
    Err(word.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_began_before_sees_the_revocation_and_the_expiry() {
    let world = World::to_unmask(3, 0).await;
    let (officer, approver) = (world.connect(Who::Officer).await, world.connect(Who::Approver).await);
    let grant = world.grant_to(&officer, 100).await;
    let receipt = record_and_arm(&officer).await;
    officer
        .batch_execute(&format!(
            "BEGIN; SELECT now(); DECLARE early NO SCROLL CURSOR FOR SELECT f.ordinal FROM generate_series(0, 2) AS g, \
             LATERAL pii_vault.fetch_unmask('{receipt}', g) AS f; FETCH 1 early"
        ))
        .await
        .unwrap();
    assert_eq!(fetch(&officer, receipt).await, Ok(3));
    officer.batch_execute("SAVEPOINT s").await.unwrap();
    approver.batch_execute(&format!("SELECT pii_vault.revoke_access('{grant}', NULL)")).await.unwrap();
    assert_eq!(fetch(&officer, receipt).await, refused("revoked"));
    officer.batch_execute("ROLLBACK TO s").await.unwrap();
    // What the cursor had from the server before is the page that was handed out; the next is not.
    let error = officer.batch_execute("FETCH ALL early").await.unwrap_err();
    assert_eq!(error.as_db_error().unwrap().constraint(), Some("revoked"));
    officer.batch_execute("ROLLBACK").await.unwrap();
    // Nor is the case opened alone after that, whatever the limit, nor what was recorded alone before.
    world.set_policy(1000).await;
    let alone = record(&officer).await;
    assert_eq!(arm(&officer, alone).await.as_deref(), Ok("revoked"));

    let colleague = world.connect(Who::Colleague).await;
    world.set_policy(0).await;
    world.grant_to(&colleague, 100).await;
    let receipt = record_and_arm(&colleague).await;
    colleague.batch_execute("BEGIN").await.unwrap();
    assert_eq!(fetch(&colleague, receipt).await, Ok(3));
    colleague.batch_execute("SAVEPOINT s").await.unwrap();
    let age = "UPDATE pii_vault.access_decisions SET decided_at = decided_at - interval '3600 seconds'";
    world.sql.batch_execute(age).await.unwrap();
    assert_eq!(fetch(&colleague, receipt).await, refused("expired"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_ends_within_an_open_transaction_also_for_who_records() {
    let world = World::to_unmask(3, 0).await;
    let (officer, approver) = (world.connect(Who::Officer).await, world.connect(Who::Approver).await);
    let grant = world.grant_to(&officer, 100).await;
    officer.batch_execute("BEGIN; SELECT now()").await.unwrap();
    approver.batch_execute(&format!("SELECT pii_vault.revoke_access('{grant}', NULL)")).await.unwrap();
    let receipt = record(&officer).await;
    officer.batch_execute("COMMIT").await.unwrap();
    assert_eq!(arm(&officer, receipt).await.as_deref(), Ok("revoked"));
    let order = "SELECT string_agg(action::text, ' ' ORDER BY seq) FROM pii_vault.audit_log WHERE seq > 2";
    let order: String = world.sql.query_one(order, &[]).await.unwrap().get(0);
    assert_eq!(order, "access_request access_approval access_revocation unmask");
}

/// Reads by several sessions, while another takes the grant back: none begins after that and gets a row.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_committed_revocation_no_fetch_hands_out_a_row() {
    let rounds = if crate::support::soak() { 100 } else { 8 };
    let world = World::to_unmask(3, 0).await;
    let (officer, approver) = (world.connect(Who::Officer).await, world.connect(Who::Approver).await);
    for round in 0..rounds {
        let id = &world.id;
        // Of another case each time: what was revoked closes its own.
        let ask = format!("SELECT request FROM pii_vault.request_access('{{ip}}', 'why', 'R-{round}', 100, 3600)");
        let grant: Uuid = officer.query_one(&ask, &[]).await.unwrap().get(0);
        approver.batch_execute(&format!("SELECT pii_vault.decide_access('{grant}', 'approved', NULL)")).await.unwrap();
        let ask = format!("SELECT {}", crate::support::receipts::ask_for(DAY).replace("C-1", &format!("R-{round}")));
        let receipt: Uuid = officer.query_one(&ask, &[]).await.unwrap().get(0);
        assert_eq!(arm(&officer, receipt).await.as_deref(), Ok("allowed"), "{id}");
        let mut readers = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let session = world.connect(Who::Officer).await;
            readers.spawn(async move {
                let mut last_that_was_served = tokio::time::Instant::now();
                loop {
                    let began = tokio::time::Instant::now();
                    match fetch(&session, receipt).await {
                        Ok(rows) => assert_eq!(rows, 3),
                        Err(word) => {
                            assert_eq!(word, "revoked");
                            return last_that_was_served;
                        }
                    }
                    last_that_was_served = began;
                }
            });
        }
        tokio::time::sleep(Duration::from_millis(20 + round % 10)).await;
        approver.batch_execute(&format!("SELECT pii_vault.revoke_access('{grant}', NULL)")).await.unwrap();
        let committed = tokio::time::Instant::now();
        while let Some(last) = readers.join_next().await {
            assert!(last.unwrap() < committed);
        }
    }
    world.assert_one_chain().await;
}
