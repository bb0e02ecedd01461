//! Whatever is done with an armed receipt: the rows of its list come, and no others.

use std::collections::BTreeSet;

use futures_util::TryStreamExt as _;
use tokio_postgres::SimpleQueryMessage;
use uuid::Uuid;

use crate::support::receipts::{DAY, ask_for, assert_denied, fetch, record_and_arm};
use crate::support::{Who, World, sqlstate};

fn ids(messages: Vec<SimpleQueryMessage>) -> BTreeSet<String> {
    messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get("event_id").map(ToOwned::to_owned),
            _ => None,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_sequence_of_fetches_and_rollbacks_shows_a_row_that_is_not_recorded() {
    let world = World::to_unmask(700, 700).await;
    let officer = world.connect(Who::Officer).await;
    let receipt = record_and_arm(&officer).await;
    let recorded = "SELECT event_id FROM pii_vault.receipt_rows";
    let recorded = ids(world.sql.simple_query(recorded).await.unwrap());
    assert_eq!(recorded.len(), 700);
    // Rows that fit the selector as well, but came later.
    world.add_raw_events(DAY, 50).await;
    let all = format!(
        "SELECT f.event_id FROM generate_series(-1000, 1000, 250) AS g, LATERAL pii_vault.fetch_unmask('{receipt}', g) AS f"
    );
    let mut seen = BTreeSet::new();
    for sql in [
        all.clone(),
        format!("BEGIN; {all}; ROLLBACK"),
        format!("BEGIN; SAVEPOINT s; {all}; ROLLBACK TO s; {all}; COMMIT"),
        format!(
            "BEGIN; DECLARE c SCROLL CURSOR WITH HOLD FOR {all}; COMMIT; FETCH ALL c; MOVE BACKWARD ALL c; FETCH ALL c; CLOSE c"
        ),
        format!("PREPARE p AS {all}; EXECUTE p; EXECUTE p; DEALLOCATE p"),
        format!("CREATE TEMP TABLE kept AS {all}; SELECT * FROM kept; DROP TABLE kept"),
        format!(
            "CREATE FUNCTION pg_temp.stable() RETURNS SETOF uuid LANGUAGE sql STABLE AS \
             $$ SELECT event_id FROM pii_vault.fetch_unmask('{receipt}', 0) $$; SELECT stable AS event_id FROM pg_temp.stable()"
        ),
        format!(
            "DO $$ DECLARE r record; BEGIN CREATE TEMP TABLE kept (event_id uuid); FOR i IN 1..3 LOOP BEGIN \
             INSERT INTO kept {all}; RAISE 'in the middle'; EXCEPTION WHEN raise_exception THEN NULL; END; \
             INSERT INTO kept {all}; COMMIT; END LOOP; END $$\nSELECT * FROM kept"
        ),
    ] {
        let mut found = BTreeSet::new();
        for line in sql.lines() {
            found.extend(ids(officer.simple_query(line).await.unwrap_or_else(|error| panic!("{error:?} {line}"))));
        }
        assert!(found.is_subset(&recorded), "{sql}");
        assert!(!found.is_empty(), "{sql}");
        seen.extend(found);
    }
    assert_eq!(seen, recorded);
    let copy = format!("COPY (SELECT * FROM pii_vault.fetch_unmask('{receipt}', 500)) TO STDOUT");
    let chunks: Vec<_> = officer.copy_out(&copy).await.unwrap().try_collect().await.unwrap();
    let lines: usize = chunks.iter().map(|chunk| chunk.iter().filter(|byte| **byte == b'\n').count()).sum();
    assert_eq!(lines, 200);
    assert_eq!(world.count("pii_vault.audit_log WHERE action = 'unmask'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_ordinals_give_nothing_more() {
    let world = World::to_unmask(3, 10).await;
    let officer = world.connect(Who::Officer).await;
    let receipt = record_and_arm(&officer).await;
    for (after, rows) in
        [("-2147483648", 0), ("2147483647", 0), ("-1", 3), ("-500", 0), ("-499", 1), ("2", 1), ("NULL", 0)]
    {
        let sql = format!("SELECT count(*) FROM pii_vault.fetch_unmask('{receipt}', {after})");
        assert_eq!(officer.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0), rows, "{after}");
    }
    // Only what was asked for is filled, and what is gone is gone.
    let filled =
        format!("SELECT count(ip_ciphertext), count(device_id_ciphertext) FROM pii_vault.fetch_unmask('{receipt}', 0)");
    let filled = officer.query_one(&filled, &[]).await.unwrap();
    assert_eq!((filled.get::<_, i64>(0), filled.get::<_, i64>(1)), (3, 0));
    world.sql.batch_execute("DELETE FROM pii_vault.login_events").await.unwrap();
    assert_eq!(fetch(&officer, receipt).await, Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_is_of_rows_of_the_list_each_once() {
    let world = World::to_unmask(10, 10).await;
    let officer = world.connect(Who::Officer).await;
    let receipt = record_and_arm(&officer).await;
    let settle = |last: &str, ordinals: &str, failures: &str| {
        format!("SELECT pii_vault.settle_unmask('{receipt}', {last}, '{ordinals}', '{failures}')")
    };
    let no_outcome = |code: Option<String>| matches!(code.as_deref(), Some("22023" | "0A000"));
    for (last, ordinals, failures) in [
        ("11", "{}", "{}"),
        ("0", "{}", "{}"),
        ("-1", "{}", "{}"),
        ("2147483647", "{}", "{}"),
        ("5", "{1}", "{}"),
        ("5", "{6}", "{deleted}"),
        ("5", "{0}", "{deleted}"),
        ("5", "{NULL}", "{deleted}"),
        ("5", "{1}", "{NULL}"),
        ("5", "{1,1}", "{deleted,not_authentic}"),
        ("5", "[7:8]={2,2}", "[-1:0]={deleted,deleted}"),
        ("5", "{{1},{2}}", "{{deleted},{deleted}}"),
    ] {
        let sql = settle(last, ordinals, failures);
        assert!(no_outcome(sqlstate(&officer, &sql).await), "{sql}");
    }
    assert_eq!(sqlstate(&officer, &settle("5", "[7:8]={2,4}", "{deleted,not_authentic}")).await, None);
    assert!(no_outcome(sqlstate(&officer, &settle("5", "{}", "{}")).await), "again");
    assert_eq!(sqlstate(&officer, &settle("10", "{}", "{}")).await, None);
    let pages = "SELECT string_agg(details->>'first' || '-' || (details->>'last') || ': ' || (details->>'opened')
        || '+' || json_array_length(details->'failed'), ', ' ORDER BY seq) FROM pii_vault.audit_log WHERE action = 'unmask_page'";
    let pages: String = world.sql.query_one(pages, &[]).await.unwrap().get(0);
    assert_eq!(pages, "1-5: 3+2, 6-10: 5+0");
    let unknown = format!("SELECT pii_vault.settle_unmask('{}', 1, '{{}}', '{{}}')", Uuid::nil());
    assert_eq!(sqlstate(&officer, &unknown).await.as_deref(), Some("42501"));
    world.assert_one_chain().await;
}

/// A plan is made of the statement alone: what the functions do inside, and with which rows, does not show.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_nothing_and_records_nothing_that_is_rolled_back() {
    let world = World::to_unmask(3, 10).await;
    let officer = world.connect(Who::Officer).await;
    let receipt = record_and_arm(&officer).await;
    let entries = world.count("pii_vault.audit_log").await;
    let fetch = format!("SELECT * FROM pii_vault.fetch_unmask('{receipt}', 0)");
    let record = format!("SELECT {}", ask_for(DAY));
    officer.batch_execute("BEGIN").await.unwrap();
    for statement in [&fetch, &record] {
        let explain = format!("EXPLAIN (ANALYZE, VERBOSE) {statement}");
        let plan: String =
            officer.query(&explain, &[]).await.unwrap().iter().map(|row| row.get::<_, String>(0)).collect();
        for inside in ["login_events", "receipt_rows", "data_keys", "audit_log", "Index", "Scan on pii_vault.r"] {
            assert!(!plan.contains(inside), "{plan}");
        }
    }
    officer.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(world.count("pii_vault.audit_log").await, entries);
    let foreign = fetch.replace(&receipt.to_string(), "00000000-0000-0000-0000-000000000000");
    assert_denied(&officer, &[&format!("EXPLAIN ANALYZE {foreign}")]).await;
}
