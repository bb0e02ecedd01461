//! Transactions that were prepared: not committed until they are, whoever looks.

use crate::support::receipts::{arm, fetch, record};
use crate::support::{Who, World, sqlstate};

#[tokio::test(flavor = "multi_thread")]
async fn no_record_can_be_prepared_and_a_prepared_arming_opens_nothing() {
    let world = World::to_unmask(3, 10).await;
    let (officer, other) = (world.connect(Who::Officer).await, world.connect(Who::Officer).await);
    let id = &world.id;

    // What is recorded is announced, and PostgreSQL prepares no transaction that announces: the log is never held
    // without a session that holds it.
    officer.batch_execute("BEGIN").await.unwrap();
    let gone = record(&officer).await;
    let prepare = format!("PREPARE TRANSACTION 'record_{id}'");
    assert_eq!(sqlstate(&officer, &prepare).await.as_deref(), Some("0A000"));
    assert_eq!(arm(&officer, gone).await, Err("42501".to_owned()));

    let receipt = record(&officer).await;
    for end in ["ROLLBACK", "COMMIT"] {
        officer.batch_execute("BEGIN").await.unwrap();
        assert_eq!(arm(&officer, receipt).await.as_deref(), Ok("allowed"));
        officer.batch_execute(&format!("PREPARE TRANSACTION 'arm_{id}'")).await.unwrap();
        assert_eq!(fetch(&other, receipt).await, Err("not_armed".to_owned()));
        officer.batch_execute(&format!("{end} PREPARED 'arm_{id}'")).await.unwrap();
    }
    assert_eq!(fetch(&other, receipt).await, Ok(3));

    world.assert_one_chain().await;
}
