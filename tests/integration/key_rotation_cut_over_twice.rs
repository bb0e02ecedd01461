//! Two that cut over at once.

use std::time::Duration;

use crate::support::{Who, World};

/// What is being built is no more valid than what an interrupted build left.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_cut_over_does_not_drop_what_the_first_one_builds() {
    let world = World::vault().await;
    world.fill_other_slot_raw(300).await;
    let reader = world.connect(Who::Analyst).await;
    // A concurrent build waits for it, and it has nothing of the events.
    reader.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class").await.unwrap();
    let first = world.administer(&["cut-over", "--patience", "60s"]);
    let building = "SELECT indexrelid::bigint FROM pg_index AS i JOIN pg_inherits AS h ON h.inhrelid = i.indrelid \
                    WHERE h.inhparent = 'pii_vault.login_events'::regclass AND NOT i.indisvalid";
    let mut index = None;
    for _ in 0..1_000 {
        index = world.sql.query_opt(building, &[]).await.unwrap().map(|row| row.get::<_, i64>(0));
        if index.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let index = index.expect("an index is being built");
    let refused = world.administer(&["cut-over", "--patience", "1s"]).finish().exits(1);
    for words in ["to index the new slot", "(administrator, pii-vault) has the turn to build indexes"] {
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
    let second = world.administer(&["cut-over", "--patience", "60s"]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    reader.batch_execute("COMMIT").await.unwrap();
    first.finish().done();
    second.finish().done();
    assert_eq!(world.token_states().await, "a pending, b active; b");
    assert_eq!(world.count(&format!("pg_index WHERE indexrelid = {index} AND indisvalid")).await, 1);
    let log = world.rotation_log().await;
    assert_eq!(log.iter().filter(|(step, _)| step == "cut_over").count(), 1);
}
