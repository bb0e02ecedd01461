//! Who holds the log up: others wait 5 s at most and in order, and a revocation does not wait at all.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::support::receipts::{DAY, arm, ask_for, fetch, record, record_and_arm, try_record};
use crate::support::{Who, World};

const BOUND: Duration = Duration::from_secs(5);
/// Of a loaded machine.
const SLACK: Duration = Duration::from_millis(1500);

#[tokio::test(flavor = "multi_thread")]
async fn each_waiter_behind_an_idling_officer_fails_within_the_bound_and_a_revocation_does_not_wait() {
    let world = World::to_unmask(3, 100).await;
    let (officer, approver) = (world.connect(Who::Officer).await, world.connect(Who::Approver).await);
    let grant = world.grant_to(&officer, 100).await;
    let receipt = record_and_arm(&officer).await;
    officer.batch_execute("BEGIN").await.unwrap();
    record(&officer).await;
    let mut waiters = JoinSet::new();
    for number in 0..8 {
        let colleague = world.connect(Who::Colleague).await;
        waiters.spawn(async move {
            tokio::time::sleep(Duration::from_millis(number * 100)).await;
            let began = Instant::now();
            let error = try_record(&colleague).await.unwrap_err();
            assert_eq!(error.code().unwrap().code(), "55P03");
            began.elapsed()
        });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    let revoke = format!("SELECT pii_vault.revoke_access('{grant}', 'now')");
    approver.batch_execute(&revoke).await.unwrap();
    let reader = world.connect(Who::Officer).await;
    assert_eq!(fetch(&reader, receipt).await, Err("revoked".to_owned()));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    while let Some(waited) = waiters.join_next().await {
        let waited = waited.unwrap();
        assert!(waited > BOUND / 2 && waited < BOUND + SLACK, "{waited:?}");
    }
    officer.batch_execute("ROLLBACK").await.unwrap();
    approver.batch_execute("SELECT pii_vault.chain_revocations()").await.unwrap();
    assert_eq!(world.count("pii_vault.audit_log WHERE action = 'access_revocation'").await, 1);
    world.assert_one_chain().await;
}

/// A row that others lock and update in turn is waited for anew after each of them: 31 s were measured.
#[tokio::test(flavor = "multi_thread")]
async fn officers_who_hold_the_log_in_turn_do_not_make_others_wait_longer_nor_overtake_them() {
    let world = World::to_unmask(3, 100).await;
    let mut holders = JoinSet::new();
    for _ in 0..3 {
        let officer = world.connect(Who::Officer).await;
        holders.spawn(async move {
            let hold = format!(
                "DO $$ BEGIN FOR i IN 1..4 LOOP PERFORM {}; PERFORM pg_sleep(1.2); COMMIT; END LOOP; END $$",
                ask_for(DAY)
            );
            // Its own turn may be too far off as well.
            let _ = officer.batch_execute(&hold).await;
        });
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    let mut waiters = JoinSet::new();
    for _ in 0..6 {
        let colleague = world.connect(Who::Colleague).await;
        waiters.spawn(async move {
            let began = Instant::now();
            let recorded = try_record(&colleague).await;
            assert!(recorded.is_ok(), "three were before it, of 1.2 s each");
            began.elapsed()
        });
    }
    while let Some(waited) = waiters.join_next().await {
        let waited = waited.unwrap();
        assert!(waited < BOUND + SLACK, "{waited:?}");
    }
    while holders.join_next().await.is_some() {}
    world.assert_one_chain().await;
}

/// Thousands of revocations of one's own requests, in one transaction: who is next must not chain them all.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_revocations_is_chained_bit_by_bit_and_an_approvers_first() {
    let world = World::to_unmask(3, 100).await;
    let (officer, approver) = (world.connect(Who::Officer).await, world.connect(Who::Approver).await);
    let grant = world.grant_to(&officer, 100).await;
    let many = "DO $$ DECLARE r uuid; BEGIN
        FOR i IN 1..400 LOOP PERFORM pii_vault.request_access('{ip}', 'why', 'F-1', 1, 60); END LOOP;
        FOR r IN SELECT id FROM pii_vault.list_access() WHERE case_id = 'F-1' LOOP
            PERFORM pii_vault.revoke_access(r, NULL); END LOOP; END $$";
    officer.batch_execute(many).await.unwrap();
    approver.batch_execute(&format!("SELECT pii_vault.revoke_access('{grant}', 'now')")).await.unwrap();
    let chained = async || world.count("pii_vault.audit_log WHERE action = 'access_revocation'").await;
    let receipt = record(&world.connect(Who::Colleague).await).await;
    assert_eq!(chained().await, 100);
    let first = "SELECT reason FROM pii_vault.audit_log WHERE action = 'access_revocation' ORDER BY seq LIMIT 1";
    assert_eq!(world.sql.query_one(first, &[]).await.unwrap().get::<_, String>(0), "now");
    // All are in force, and all are chained in the end.
    assert_eq!(arm(&officer, receipt).await, Err("42501".to_owned()));
    assert_eq!(world.count("pii_vault.access_grants WHERE state = 'revoked'").await, 401);
    for _ in 0..4 {
        approver.batch_execute("SELECT pii_vault.chain_revocations()").await.unwrap();
    }
    assert_eq!(chained().await, 401);
    world.assert_one_chain().await;
}
