//! A record that is rolled back leaves no trace, so it tells nothing: an id comes, whatever was found and decided.
//! (Counters of PostgreSQL, sizes and time still tell roughly how many rows were found: README, what is not guaranteed.)

use std::time::Duration;

use tokio_postgres::{AsyncMessage, Client, NoTls};
use uuid::Uuid;

use crate::support::receipts::{DAY, arm, ask_for, fetch, try_record};
use crate::support::{Who, World, sqlstate};

/// A session under the role of unmasking, and what the server tells it beside results.
async fn with_notices(world: &World) -> (Client, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let (client, mut driver) = tokio_postgres::connect(&world.database_url(Who::Officer), NoTls).await.unwrap();
    let (sender, told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|context| driver.poll_message(context)).await {
            if let AsyncMessage::Notice(notice) = message {
                let _ = sender.send(format!("{notice} {}", notice.detail().unwrap_or_default()));
            }
        }
    });
    client.batch_execute("SET ROLE pii_vault_unmask").await.unwrap();
    (client, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_and_sorts_that_a_session_asks_to_be_told_of_say_nothing_of_the_decision() {
    let world = World::to_unmask(300, 1000).await;
    let (officer, mut told) = with_notices(&world).await;
    officer
        .batch_execute(
            "SET client_min_messages = debug5; SET debug_print_parse = on; SET debug_print_rewritten = on;
             SET debug_print_plan = on; SET trace_sort = on",
        )
        .await
        .unwrap();
    officer.batch_execute(&format!("BEGIN; SELECT {}; ROLLBACK", ask_for(DAY))).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut own = 0;
    while let Ok(notice) = told.try_recv() {
        own += 1;
        assert!(notice.len() < 20_000 && !notice.contains("tuple sort"), "{notice}");
    }
    assert!((1..40).contains(&own), "{own} messages, all of them of the session's own statements");
    assert_eq!(world.count("pii_vault.audit_log WHERE action = 'unmask'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_asked_for_an_id_comes_and_it_is_recorded() {
    let world = World::to_unmask(3, 10).await;
    let officer = world.connect(Who::Officer).await;
    let defaults = ["'{ip}'", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL", "'why'", "'C-1'", "NULL", "false"];
    let with = |changes: &[(usize, &str)]| {
        let mut arguments = defaults;
        for (position, value) in changes {
            arguments[*position] = value;
        }
        format!("SELECT pii_vault.record_unmask({})", arguments.join(", "))
    };
    let (fields, events, users, ips, since, until, reason, case, grant, dry) = (0, 1, 2, 3, 5, 6, 7, 8, 9, 10);
    for (changes, decided) in [
        (vec![], "no_selector"),
        (vec![(since, "'2026-01-01'")], "no_selector"),
        (vec![(users, "'{user}'"), (since, "'-infinity'")], "malformed"),
        (vec![(users, "'{user}'"), (until, "'infinity'")], "malformed"),
        (vec![(since, "'2026-01-02'"), (until, "'2026-01-01'")], "malformed"),
        (vec![(since, "'4713-01-01 BC'"), (until, "'5874897-12-31'")], "allowed"),
        (vec![(events, "ARRAY[gen_random_uuid()]"), (since, "'5874897-12-31'")], "allowed"),
        (vec![(events, "ARRAY[gen_random_uuid()]"), (until, "'4713-01-01 BC'")], "allowed"),
        (vec![(events, "ARRAY[gen_random_uuid()]"), (since, "'infinity'"), (until, "'infinity'")], "malformed"),
        (vec![(events, "'{NULL}'")], "malformed"),
        (vec![(users, "'{NULL,user}'")], "malformed"),
        (vec![(users, "'{{nobody},{else}}'")], "allowed"),
        (vec![(users, "'[5:6]={nobody,else}'")], "allowed"),
        (vec![(users, "ARRAY[repeat('x', 1000000)]")], "malformed"),
        // A log entry that long could not be written, or could by a digit less.
        (vec![(users, "array_fill(repeat('x', 1000000), ARRAY[600])"), (reason, "repeat('x', 1000000)")], "malformed"),
        (vec![(users, "array_fill('x'::text, ARRAY[1001])")], "malformed"),
        (vec![(ips, "array_fill('x'::text, ARRAY[10,10,11])")], "malformed"),
        (vec![(fields, "NULL"), (users, "'{user}'")], "malformed"),
        (vec![(fields, "'{}'"), (users, "'{user}'")], "malformed"),
        (vec![(fields, "'{ip,NULL}'"), (users, "'{user}'")], "malformed"),
        (vec![(fields, "'{{ip,ip},{ip,ip}}'"), (users, "'{nobody}'")], "allowed"),
        (vec![(users, "'{user}'"), (reason, "E' \\t\\n'")], "malformed"),
        (vec![(users, "'{user}'"), (reason, "NULL")], "malformed"),
        (vec![(users, "'{user}'"), (reason, "repeat('x', 1000000)")], "malformed"),
        (vec![(users, "'{user}'"), (case, "NULL")], "case_form"),
        (vec![(users, "'{user}'"), (case, "E'C-1\\n'")], "case_form"),
        (vec![(users, "'{user}'"), (case, "repeat('x', 1000000)")], "case_form"),
        (vec![(users, "'{user}'"), (grant, "gen_random_uuid()")], "unknown_grant"),
        (vec![(users, "'{user}'"), (dry, "NULL")], "allowed"),
    ] {
        let sql = with(&changes);
        let shown = &sql[..sql.len().min(300)];
        let before = world.count("pii_vault.audit_log").await;
        let receipt = officer.query_one(&sql, &[]).await.unwrap_or_else(|error| panic!("{error:?} {shown}")).get(0);
        assert_eq!(world.count("pii_vault.audit_log").await, before + 1, "{shown}");
        assert_eq!(arm(&officer, receipt).await.as_deref(), Ok(decided), "{shown}");
    }
    // So do the other functions that record.
    for sql in [
        "SELECT pii_vault.request_access('{{ip},{NULL}}', repeat('x', 1000000), E'\\n', -1, 2147483647)",
        "SELECT pii_vault.request_access(NULL, NULL, NULL, NULL, NULL)",
        "SELECT pii_vault.revoke_access(gen_random_uuid(), repeat('x', 1000000))",
        "SELECT pii_vault.revoke_access(NULL, NULL)",
    ] {
        let before = world.count("pii_vault.audit_log WHERE decision = 'refused'").await;
        assert_eq!(sqlstate(&officer, sql).await, None, "{sql}");
        assert_eq!(world.count("pii_vault.audit_log WHERE decision = 'refused'").await, before + 1, "{sql}");
    }
    world.assert_one_chain().await;
}

async fn recorded_at_last(officer: &Client) -> Uuid {
    for _ in 0..1000 {
        match try_record(officer).await {
            Ok(receipt) => return receipt,
            Err(error) => assert_eq!(error.code().map(|code| code.code()), Some("55P03"), "{error}"),
        }
    }
    panic!("no record within a thousand tries");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_setting_of_a_session_changes_what_is_recorded_or_decided() {
    let world = World::to_unmask(3, 3).await;
    let officer = world.connect(Who::Officer).await;
    officer
        .batch_execute(
            "SET TimeZone = 'Pacific/Kiritimati'; SET DateStyle = 'German, DMY'; SET IntervalStyle = sql_standard;
             SET standard_conforming_strings = off; SET backslash_quote = on; SET transform_null_equals = on;
             SET array_nulls = off; SET plpgsql.extra_errors = 'all'; SET bytea_output = escape;
             SET extra_float_digits = -15; SET quote_all_identifiers = on; SET row_security = off;
             SET plan_cache_mode = force_generic_plan; SET enable_indexscan = off; SET enable_seqscan = off;
             SET synchronous_commit = off; SET lock_timeout = '1ms'; SET client_encoding = 'LATIN1';
             SET constraint_exclusion = on; SET from_collapse_limit = 1; SET check_function_bodies = off;
             SET pii_vault.host = 'a host that it says it is'",
        )
        .await
        .unwrap();
    // Whoever announces waits for others of the whole server that do: with such a lock_timeout, some of her own commits fail.
    let receipt = recorded_at_last(&officer).await;
    assert_eq!(arm(&officer, receipt).await.as_deref(), Ok("allowed"));
    // The writer of the write-ahead log gets there in a moment.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(fetch(&officer, receipt).await, Ok(3));
    let over = recorded_at_last(&officer).await;
    assert_eq!(arm(&officer, over).await.as_deref(), Ok("alone_limit"));
    world.assert_one_chain().await;
    let row =
        "SELECT details->'selector'->>'since', claimed_host FROM pii_vault.audit_log WHERE action = 'unmask' LIMIT 1";
    let row = world.sql.query_one(row, &[]).await.unwrap();
    assert_eq!((row.get(0), row.get(1)), (DAY, "a host that it says it is"));
}
