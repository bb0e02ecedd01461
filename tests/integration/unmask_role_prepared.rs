//! Transactions that were prepared: not committed until they are, whoever looks.

use crate::support::receipts::{arm, fetch, record, try_record};
use crate::support::{Who, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_record_and_a_prepared_arming_open_nothing() {
    let world = World::to_unmask(3, 10).await;
    let (officer, other) = (world.connect(Who::Officer).await, world.connect(Who::Officer).await);
    let id = &world.id;
    let denied = "42501".to_owned();

    officer.batch_execute("BEGIN").await.unwrap();
    let receipt = record(&officer).await;
    officer.batch_execute(&format!("PREPARE TRANSACTION 'record_{id}'")).await.unwrap();
    for session in [&officer, &other] {
        assert_eq!(arm(session, receipt).await, Err(denied.clone()));
        assert_eq!(fetch(session, receipt).await, Err(denied.clone()));
    }
    // It goes on holding the log, without a session: `doctor` names it.
    let colleague = world.connect(Who::Colleague).await;
    assert_eq!(try_record(&colleague).await.unwrap_err().code().unwrap().code(), "55P03");
    officer.batch_execute(&format!("COMMIT PREPARED 'record_{id}'")).await.unwrap();
    assert_eq!(fetch(&officer, receipt).await, Err("not_armed".to_owned()));

    for end in ["ROLLBACK", "COMMIT"] {
        officer.batch_execute("BEGIN").await.unwrap();
        assert_eq!(arm(&officer, receipt).await.as_deref(), Ok("allowed"));
        officer.batch_execute(&format!("PREPARE TRANSACTION 'arm_{id}'")).await.unwrap();
        assert_eq!(fetch(&other, receipt).await, Err("not_armed".to_owned()));
        officer.batch_execute(&format!("{end} PREPARED 'arm_{id}'")).await.unwrap();
    }
    assert_eq!(fetch(&other, receipt).await, Ok(3));

    officer.batch_execute("BEGIN").await.unwrap();
    let gone = record(&officer).await;
    officer.batch_execute(&format!("PREPARE TRANSACTION 'record_{id}'")).await.unwrap();
    other.batch_execute(&format!("ROLLBACK PREPARED 'record_{id}'")).await.unwrap();
    assert_eq!(arm(&officer, gone).await, Err(denied));
    world.assert_one_chain().await;
}
