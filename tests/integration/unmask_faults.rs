//! What cannot be recorded is not handed out: where the log, a receipt or a checkpoint fails.
//!
//! Every run of these files is held to one rule by `Attempt::ended`: not a byte of a
//! row without a committed outcome, none without a receipt that stands, and no success unless all came.

use crate::support::{Pages, ROWS, Who};

/// Makes the database fail at writes to a table of which `condition` holds, at once or when they are committed.
async fn failing(pages: &Pages, table: &str, write: &str, condition: &str, at_commit: bool, code: &str) -> String {
    // What PostgreSQL says of it names the row, and that must not come out.
    let function = format!(
        "CREATE OR REPLACE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             RAISE 'canary-device of a superuser: %', NEW USING ERRCODE = '{code}';
         END $$"
    );
    let trigger = if at_commit {
        format!(
            "CREATE CONSTRAINT TRIGGER fails AFTER {write} ON pii_vault.{table} DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION public.fail()"
        )
    } else {
        format!(
            "CREATE TRIGGER fails BEFORE {write} ON pii_vault.{table}
             FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION public.fail()"
        )
    };
    pages.world.sql.batch_execute(&format!("{function}; {trigger}")).await.unwrap();
    format!("DROP TRIGGER fails ON pii_vault.{table}")
}

/// A write: table, statement, condition. What must come of it: whether a receipt stands, and how many rows come.
type Write = (&'static str, &'static str, &'static str);
const WRITES: [(Write, bool, usize); 7] = [
    (("audit_log", "INSERT", "NEW.action = 'unmask'"), false, 0),
    (("receipts", "INSERT", "true"), false, 0),
    (("receipt_rows", "INSERT", "NEW.ordinal = 1001"), false, 0),
    (("receipts", "UPDATE", "NEW.armed_by IS NOT NULL AND NEW.settled_through = 0"), true, 0),
    (("audit_log", "INSERT", "NEW.action = 'unmask_page'"), true, 0),
    (("audit_log", "INSERT", "NEW.action = 'unmask_page' AND NEW.details->>'first' = '501'"), true, 500),
    (("receipts", "UPDATE", "NEW.settled_through > 1000"), true, 1_000),
];

#[tokio::test(flavor = "multi_thread")]
async fn where_a_write_fails_at_once_or_at_the_commit_only_what_was_recorded_before_comes() {
    let pages = Pages::new().await;
    for at_commit in [false, true] {
        for (number, ((table, write, condition), recorded, rows)) in WRITES.into_iter().enumerate() {
            let what = format!("{write} of {table} where {condition}, {at_commit}");
            let mend = failing(&pages, table, write, condition, at_commit, "P0001").await;
            let ended = pages.start(&what, number % 2 == 0, &[]).ended(&pages.world).await;
            assert_eq!((ended.code, ended.recorded, ended.rows), (Some(1), recorded, rows), "{what}: {}", ended.said);
            assert_eq!(ended.settled, rows, "{what}");
            pages.world.sql.batch_execute(&mend).await.unwrap();
        }
    }
    assert_eq!(pages.start("mended", false, &[]).ended(&pages.world).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_is_tried_again_where_nothing_is_charged_twice_nor_settled_twice() {
    let pages = Pages::new().await;
    pages
        .world
        .sql
        .batch_execute("CREATE SEQUENCE public.tries; GRANT ALL ON SEQUENCE public.tries TO PUBLIC")
        .await
        .unwrap();
    for ((table, write, condition), rows) in [(WRITES[0].0, 0), (WRITES[3].0, ROWS), (WRITES[5].0, 500)] {
        for at_commit in [false, true] {
            let once = format!("{condition} AND nextval('public.tries') = 1");
            let mend = failing(&pages, table, write, &once, at_commit, "40001").await;
            let what = format!("{write} of {table} where {once}, {at_commit}");
            let ended = pages.start(&what, false, &[]).ended(&pages.world).await;
            let code = if rows == ROWS { 0 } else { 1 };
            assert_eq!((ended.code, ended.rows), (Some(code), rows), "{what}: {}", ended.said);
            pages.world.sql.batch_execute(&format!("{mend}; ALTER SEQUENCE public.tries RESTART")).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_checkpoint_that_covers_it_nothing_comes_where_policy_asks_for_one() {
    let pages = Pages::new().await;
    let sql = &pages.world.sql;
    let set = "SET ROLE pii_vault_owner; SELECT pii_vault.set_policy(1000000, 1, 28800, '.+', 'required', 'a test'); RESET ROLE";
    sql.batch_execute(set).await.unwrap();
    let checkpoint = |seq: &str| {
        format!(
            "INSERT INTO pii_vault.checkpoints SELECT {seq}, sha256('a'), sha256('b'), now(), 'a key', sha256('c')
             FROM pii_vault.audit_head AS h"
        )
    };
    // Of the log as it was before.
    sql.batch_execute(&checkpoint("h.seq")).await.unwrap();
    for to_file in [false, true] {
        let ended = pages.start("no checkpoint", to_file, &[]).ended(&pages.world).await;
        assert_eq!((ended.code, ended.recorded, ended.rows), (Some(3), true, 0), "{}", ended.said);
        assert!(ended.said.contains("no_checkpoint"), "{}", ended.said);
    }
    let refused = pages.world.audited("unmask_page").await;
    assert_eq!(refused.iter().map(|(why, _)| why.as_deref()).collect::<Vec<_>>(), [Some("no_checkpoint"); 2]);
    let run = pages.start("a checkpoint that comes", false, &[]);
    let recorded = "pii_vault.audit_log WHERE action = 'unmask'";
    while pages.world.count(recorded).await < 3 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    sql.batch_execute(&checkpoint("h.seq")).await.unwrap();
    let ended = run.ended(&pages.world).await;
    assert_eq!((ended.code, ended.rows), (Some(0), ROWS), "{}", ended.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_is_not_committed_is_not_told_as_made() {
    let pages = Pages::new().await;
    let world = &pages.world;
    let id = world.requested(Who::Officer, "C-1", "10");
    let approve = || world.access(Who::Approver, &["approve", &id]);
    let mend = failing(&pages, "access_decisions", "INSERT", "true", true, "P0001").await;
    approve().exits(1);
    world.sql.batch_execute(&mend).await.unwrap();
    approve().done();
    for table in ["access_revocations", "access_requests"] {
        let mend = failing(&pages, table, "INSERT", "true", true, "P0001").await;
        if table == "access_revocations" {
            world.access(Who::Approver, &["revoke", &id]).exits(1);
        } else {
            world.request(Who::Officer, "C-1", "10").exits(1);
        }
        world.sql.batch_execute(&mend).await.unwrap();
    }
    assert_eq!(world.state(&id).await, "granted");
}
