//! No row without a receipt of this login, committed, armed in a transaction of its own, fresh.

use uuid::Uuid;

use crate::support::receipts::{DAY, arm, ask_for, fetch, record, record_and_arm};
use crate::support::{Who, World, sqlstate};

const DENIED: &str = "42501";

fn refused(word: &str) -> Result<i64, String> {
    Err(word.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_receipt_nor_anothers_nor_one_that_is_not_armed() {
    let world = World::to_unmask(3, 10).await;
    let (officer, colleague) = (world.connect(Who::Officer).await, world.connect(Who::Colleague).await);
    assert_eq!(fetch(&officer, Uuid::nil()).await, refused(DENIED));
    let receipt = record(&officer).await;
    assert_eq!(fetch(&officer, receipt).await, refused("not_armed"));
    assert_eq!(arm(&colleague, receipt).await, Err(DENIED.to_owned()));
    assert_eq!(arm(&officer, receipt).await.as_deref(), Ok("allowed"));
    assert_eq!(fetch(&colleague, receipt).await, refused(DENIED));
    assert_eq!(fetch(&officer, receipt).await, Ok(3));
    let nulls = officer.query("SELECT pii_vault.fetch_unmask(NULL, NULL), pii_vault.arm_receipt(NULL)", &[]).await;
    assert!(nulls.unwrap().is_empty());
    // What was refused or tried dry opens nothing, armed or not.
    let dry =
        "SELECT pii_vault.record_unmask('{ip}', NULL, '{user}', NULL, NULL, NULL, NULL, 'why', 'C-1', NULL, true)";
    let dry: Uuid = officer.query_one(dry, &[]).await.unwrap().get(0);
    assert_eq!(arm(&officer, dry).await.as_deref(), Ok("allowed"));
    assert_eq!(fetch(&officer, dry).await, refused("not_armed"));
    world.set_policy(0).await;
    let over = record(&officer).await;
    assert_eq!(arm(&officer, over).await.as_deref(), Ok("alone_limit"));
    assert_eq!(fetch(&officer, over).await, refused("alone_limit"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_one_and_one_that_is_not_on_disk_are_refused() {
    let world = World::to_unmask(3, 10).await;
    let officer = world.connect(Who::Officer).await;
    let receipt = record_and_arm(&officer).await;
    let set =
        async |what: &str| world.sql.batch_execute(&format!("UPDATE pii_vault.receipts SET {what}")).await.unwrap();
    set("recorded_at = recorded_at - interval '599 seconds'").await;
    assert_eq!(fetch(&officer, receipt).await, Ok(3));
    set("recorded_at = recorded_at - interval '1 second'").await;
    assert_eq!(fetch(&officer, receipt).await, refused("stale"));
    set("recorded_at = 'infinity', armed_at_lsn = 'FFFFFFFF/0'").await;
    assert_eq!(fetch(&officer, receipt).await, refused("not_durable"));
    let note = format!("SELECT pii_vault.record_refusal('{receipt}')::text");
    assert_eq!(officer.query_one(&note, &[]).await.unwrap().get::<_, String>(0), "not_durable");
    assert_eq!(world.count("pii_vault.audit_log WHERE action = 'unmask_page' AND refusal = 'not_durable'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_a_rolled_back_and_a_savepoints_record_open_nothing() {
    let world = World::to_unmask(3, 1000).await;
    let (officer, other) = (world.connect(Who::Officer).await, world.connect(Who::Officer).await);
    for begin in ["BEGIN", "BEGIN; SAVEPOINT s"] {
        officer.batch_execute(begin).await.unwrap();
        let receipt = record(&officer).await;
        assert_eq!(arm(&other, receipt).await, Err(DENIED.to_owned()), "open, of another session");
        assert_eq!(arm(&officer, receipt).await, Err(DENIED.to_owned()), "{begin}");
        officer.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(arm(&officer, receipt).await, Err(DENIED.to_owned()), "rolled back");
        assert_eq!(fetch(&officer, receipt).await, refused(DENIED));
    }
    officer.batch_execute("BEGIN; SAVEPOINT s").await.unwrap();
    let receipt = record(&officer).await;
    officer.batch_execute("RELEASE s; SAVEPOINT t").await.unwrap();
    assert_eq!(fetch(&officer, receipt).await, refused(DENIED));
    officer.batch_execute("ROLLBACK TO t").await.unwrap();
    assert_eq!(arm(&officer, receipt).await, Err(DENIED.to_owned()));
    officer.batch_execute("ROLLBACK TO t; COMMIT").await.unwrap();

    // Armed and fetched in one transaction, or armed by one that is open or did not end well.
    officer.batch_execute("BEGIN; SAVEPOINT s").await.unwrap();
    assert_eq!(arm(&officer, receipt).await.as_deref(), Ok("allowed"));
    officer.batch_execute("RELEASE s; SAVEPOINT t").await.unwrap();
    assert_eq!(fetch(&officer, receipt).await, refused("not_armed"));
    assert_eq!(fetch(&other, receipt).await, refused("not_armed"));
    officer.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(fetch(&officer, receipt).await, refused("not_armed"));
    officer.batch_execute("BEGIN; SAVEPOINT s").await.unwrap();
    arm(&officer, receipt).await.unwrap();
    officer.batch_execute("ROLLBACK TO s; COMMIT").await.unwrap();
    assert_eq!(fetch(&officer, receipt).await, refused("not_armed"));
    arm(&officer, receipt).await.unwrap();
    assert_eq!(fetch(&other, receipt).await, Ok(3), "it is the login's, whichever session");

    // A savepoint that goes takes its row of the log along, and its number is given again.
    officer.batch_execute("BEGIN").await.unwrap();
    record(&officer).await;
    officer.batch_execute("SAVEPOINT s").await.unwrap();
    let gone = record(&officer).await;
    officer.batch_execute("ROLLBACK TO s").await.unwrap();
    record(&officer).await;
    officer.batch_execute("COMMIT").await.unwrap();
    assert_eq!(arm(&officer, gone).await, Err(DENIED.to_owned()));
    world.assert_one_chain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_snapshot_older_than_the_statement_is_read_by() {
    let world = World::to_unmask(3, 1000).await;
    let officer = world.connect(Who::Officer).await;
    let receipt = record_and_arm(&officer).await;
    for begin in [
        "BEGIN ISOLATION LEVEL REPEATABLE READ",
        "BEGIN ISOLATION LEVEL SERIALIZABLE",
        "BEGIN; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "BEGIN; SET transaction_isolation = 'serializable'",
        "BEGIN ISOLATION LEVEL READ UNCOMMITTED",
    ] {
        for sql in [
            format!("SELECT pii_vault.fetch_unmask('{receipt}', 0)"),
            format!("SELECT pii_vault.arm_receipt('{receipt}')"),
            format!("SELECT {}", ask_for(DAY)),
        ] {
            officer.batch_execute(begin).await.unwrap();
            assert_eq!(sqlstate(&officer, &sql).await.as_deref(), Some("25000"), "{begin} {sql}");
            officer.batch_execute("ROLLBACK").await.unwrap();
        }
    }
    officer.batch_execute("SET default_transaction_isolation = 'repeatable read'").await.unwrap();
    assert_eq!(fetch(&officer, receipt).await, refused("25000"));
    officer.batch_execute("RESET default_transaction_isolation").await.unwrap();
    officer.batch_execute("BEGIN READ ONLY").await.unwrap();
    assert_eq!(fetch(&officer, receipt).await, Ok(3));
}

/// A login that is renamed is another one: it has nothing of what the old name recorded.
#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_login_has_no_receipt_and_whoever_gets_its_name_has() {
    let world = World::to_unmask(3, 10).await;
    let officer = world.connect(Who::Officer).await;
    let receipt = record_and_arm(&officer).await;
    let id = &world.id;
    world.sql.batch_execute(&format!("ALTER ROLE officer_{id} RENAME TO once_{id}")).await.unwrap();
    assert_eq!(fetch(&officer, receipt).await, refused(DENIED));
    world.make_login(Who::Officer).await;
    assert_eq!(fetch(&world.connect(Who::Officer).await, receipt).await, Ok(3));
    assert_eq!(fetch(&officer, receipt).await, refused(DENIED));
    // Nor do its own functions know a login that is gone.
    world.sql.batch_execute(&format!("DROP ROLE once_{id}")).await.unwrap();
    assert!(fetch(&officer, receipt).await.is_err());
}
