//! `audit verify` says nothing of a log that is whole, and names what a superuser did to one, each thing done once.

use serde_json::Value;
use uuid::Uuid;

use crate::support::{Finished, Story, Who, World, lay_hands_on, login, put_back};

fn verify(world: &World) -> Finished {
    world.pii_vault(Who::Auditor, &["audit", "verify", "--output", "json"]).finish()
}

/// Does it, and returns what is found.
async fn findings_after(world: &World, tampering: &str) -> Vec<Value> {
    world.sql.batch_execute(tampering).await.unwrap_or_else(|error| panic!("{tampering}: {error:?}"));
    let report = verify(world).exits(4).json();
    put_back(world).await;
    report["findings"].as_array().unwrap().clone()
}

/// Does it, and wants a finding of this word at this entry (0: at none), be there others.
async fn assert_found(world: &World, tampering: &str, word: &str, seq: i64) {
    let findings = findings_after(world, tampering).await;
    let is_it = |finding: &&Value| finding["word"] == word && finding["seq"].as_i64().unwrap_or(0) == seq;
    assert!(findings.iter().any(|finding| is_it(&finding)), "{tampering}: {word} at {seq}, not in {findings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_whole_is_verified() {
    let story = Story::told().await;
    let report = verify(&story.world).done().json();
    assert_eq!((&report["entries"], &report["head"]["seq"]), (&19.into(), &19.into()), "{report:#}");
    assert_eq!((&report["findings"], &report["notes"]), (&Value::Array(vec![]), &Value::Array(vec![])));
    let human = story.world.pii_vault(Who::Auditor, &["audit", "verify"]).finish().done();
    assert!(human.stdout.contains(&format!("last entry   19  {}", report["head"]["hash"].as_str().unwrap())));
    assert!(human.stdout.ends_with("verified: the log is whole, and what it allowed follows from it\n"));

    // In force before the log has it.
    let request = story.request("{ip}", "CASE-6", 5).await;
    story.officer.execute("SELECT pii_vault.revoke_access($1, NULL)::text", &[&request]).await.unwrap();
    let report = verify(&story.world).done().json();
    assert_eq!(report["notes"][0]["word"], "revocation");
    // Policy counts as of each time: 12 values alone are more than 10, and less than 30.
    story.set_policy(30, 2).await;
    story.unmask("{ip}", "2026-01-01", "CASE-7", false).await;
    story.set_policy(0, 1).await;
    verify(&story.world).done();
    // A word of a later version.
    story.world.sql.batch_execute("ALTER TYPE pii_vault.audit_action ADD VALUE 'reseal'").await.unwrap();
    let sql =
        "SELECT pii_vault.audit_append(pii_vault.audit_lock(), pii_vault.audit_origin(), 'reseal', NULL, NULL, NULL,
                   NULL, NULL, '[1]')";
    story.world.sql.batch_execute(sql).await.unwrap();
    let report = verify(&story.world).done().json();
    assert!(report["notes"].as_array().unwrap().iter().any(|note| note["word"] == "unknown_action"), "{report:#}");
}

/// Who may only ask must not be able to make the log look broken.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_asked_for_by_raw_sql_leaves_a_log_that_is_whole() {
    let story = Story::begin().await;
    let record = "pii_vault.record_unmask";
    for fields in ["NULL", "'{}'", "'{NULL}'", "'{ip,NULL}'", "'{{device_id},{ip}}'"] {
        for sql in [
            format!("SELECT {record}({fields}, NULL, '{{a}}', NULL, NULL, NULL, NULL, 'why', 'CASE-1', NULL, NULL)"),
            format!(
                "SELECT {record}({fields}, '{{NULL}}', '{{NULL}}', NULL, NULL, '-infinity', 'infinity', 'why', 'x', NULL, true)"
            ),
            format!(
                "SELECT {record}({fields}, NULL, NULL, NULL, NULL, '4713-01-01 BC', '5874897-12-31', 'why', 'CASE-1', NULL, true)"
            ),
            format!("SELECT pii_vault.request_access({fields}, 'why', 'CASE-1', 5, 60)::text"),
            format!("SELECT pii_vault.request_access({fields}, NULL, NULL, NULL, NULL)::text"),
        ] {
            story.officer.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{error:?} {sql}"));
        }
    }
    for (field, count) in [("NULL", "1"), ("'ip'", "NULL"), ("'ip'", "-2147483648"), ("NULL", "NULL"), ("'ip'", "1")] {
        let sql = format!("SELECT pii_vault.record_lookup({field}, {count}, 'why', 'CASE-1')");
        let receipt: Uuid = story.lookup.query_one(&sql, &[]).await.unwrap().get(0);
        story.lookup.execute("SELECT pii_vault.record_refusal($1)::text", &[&receipt]).await.unwrap();
    }
    for sql in [
        "SELECT pii_vault.decide_access(gen_random_uuid(), 'approved', NULL)::text",
        "SELECT pii_vault.decide_access(NULL, NULL, NULL)::text",
        "SELECT pii_vault.revoke_access(NULL, NULL)::text",
    ] {
        story.approver.batch_execute(sql).await.unwrap();
    }
    let receipt = story.unmask("{ip}", "2026-01-02", "CASE-1", true).await;
    story.officer.execute("SELECT pii_vault.record_refusal($1)::text", &[&receipt]).await.unwrap();
    let report = verify(&story.world).done().json();
    assert_eq!((&report["findings"], &report["notes"]), (&Value::Array(vec![]), &Value::Array(vec![])), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_of_the_log_is_named() {
    let story = Story::told().await;
    let world = &story.world;
    lay_hands_on(world).await;
    for change in [
        "at = at + interval '1 microsecond'",
        "action = 'unmask_dry_run'",
        "actor = 'somebody'",
        "role = 'none'",
        "client_address = NULL",
        "claimed_host = ''",
        "claimed_version = 'x'",
        "decision = 'refused'",
        "refusal = 'revoked'",
        "reason = 'another'",
        "case_id = NULL",
        "subject = gen_random_uuid()",
        "details = (details::text || ' ')::json",
        "hash = sha256('x')",
    ] {
        assert_found(world, &format!("UPDATE pii_vault.audit_log SET {change} WHERE seq = 8"), "hash", 8).await;
    }
    let removed = findings_after(world, "DELETE FROM pii_vault.audit_log WHERE seq = 8").await;
    let gap = removed.iter().find(|finding| finding["word"] == "gap").expect("a gap");
    assert_eq!((&gap["seq"], &gap["what"]), (&9.into(), &"entry 8 is missing".into()));
    assert_found(world, "DELETE FROM pii_vault.audit_log WHERE seq > 17", "head", 19).await;
    assert_found(world, "DELETE FROM pii_vault.audit_log", "head", 19).await;
    assert_found(world, "DELETE FROM pii_vault.audit_log WHERE seq = 1", "gap", 2).await;
    assert_found(world, "UPDATE pii_vault.audit_head SET hash = sha256('x')", "head", 19).await;
    assert_found(world, "UPDATE pii_vault.audit_head SET seq = 18", "head", 18).await;
    let reorder = "UPDATE pii_vault.audit_log SET seq = 1000 WHERE seq = 8;
         UPDATE pii_vault.audit_log SET seq = 8 WHERE seq = 9; UPDATE pii_vault.audit_log SET seq = 9 WHERE seq = 1000";
    assert_found(world, reorder, "hash", 8).await;
    let insert = "INSERT INTO pii_vault.audit_log SELECT 20, at, action, actor, role, client_address, claimed_host,
             claimed_version, decision, refusal, reason, case_id, subject, details, hash
         FROM pii_vault.audit_log WHERE seq = 8;
         UPDATE pii_vault.audit_head SET seq = 20";
    assert_found(world, insert, "hash", 20).await;
    verify(world).done();
}

/// All hashes are made anew: what is found, the replay finds, or the tables.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_made_anew_must_still_follow_the_rule() {
    let story = Story::told().await;
    let world = &story.world;
    lay_hands_on(world).await;
    for (edit, word, seq) in [
        ("UPDATE pii_vault.audit_log SET actor = 'other' WHERE seq = 5", "unknown_grant", 5),
        (
            "UPDATE pii_vault.audit_log SET actor = (SELECT actor FROM pii_vault.audit_log WHERE seq = 3) WHERE seq = 4",
            "own_request",
            4,
        ),
        ("UPDATE pii_vault.audit_log SET action = 'access_denial' WHERE seq = 4", "denied", 5),
        ("SELECT public.edit(3, 'max_values', '39')", "used_up", 5),
        ("SELECT public.edit(3, 'fields', '[\"ip\"]')", "other_fields", 5),
        ("UPDATE pii_vault.audit_log SET case_id = 'CASE-9' WHERE seq = 5", "other_case", 5),
        ("UPDATE pii_vault.audit_log SET at = at + interval '2 hours' WHERE seq = 5", "expired", 5),
        ("SELECT public.edit(2, 'alone_limit', '4')", "alone_limit", 8),
        ("SELECT public.edit(2, 'case_pattern', '\"X.*\"')", "case_form", 3),
        ("SELECT public.edit(6, 'last', '11'), public.edit(6, 'opened', '11')", "page", 7),
        ("UPDATE pii_vault.audit_log SET decision = 'allowed', refusal = NULL WHERE seq = 11", "alone_limit", 11),
        ("UPDATE pii_vault.audit_log SET decision = 'allowed', refusal = NULL WHERE seq = 19", "revoked", 19),
        ("UPDATE pii_vault.audit_log SET actor = 'other' WHERE seq = 13", "tokens", 13),
        ("UPDATE pii_vault.audit_log SET reason = 'another' WHERE seq = 3", "access_requests_differs", 3),
        ("UPDATE pii_vault.audit_log SET reason = 'another' WHERE seq = 18", "access_revocations_differs", 18),
        ("DELETE FROM pii_vault.audit_log WHERE seq = 19", "receipts_not_logged", 19),
    ] {
        assert_found(world, &format!("{edit}; SELECT public.rechain()"), word, seq).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_say_otherwise_than_the_log_are_named() {
    let story = Story::told().await;
    let world = &story.world;
    lay_hands_on(world).await;
    let grant =
        "INSERT INTO pii_vault.access_requests SELECT '00000000-0000-4000-8000-000000000001', requested_at, requester,
             fields, reason, case_id, 1000, duration_seconds, approvals_needed FROM pii_vault.access_requests LIMIT 1;
         INSERT INTO pii_vault.access_decisions SELECT '00000000-0000-4000-8000-000000000001', requester, 'someone',
             requested_at, 'approved' FROM pii_vault.access_requests LIMIT 1";
    let inserted = findings_after(world, grant).await;
    for word in ["access_requests_not_logged", "access_decisions_not_logged"] {
        let finding = inserted.iter().find(|finding| finding["word"] == word).unwrap();
        assert!(finding["row"].as_str().unwrap().ends_with("00000000-0000-4000-8000-000000000001"), "{finding}");
    }
    let widen = "INSERT INTO pii_vault.receipt_rows SELECT r.id, 6, '2026-01-01', e.event_id
         FROM pii_vault.receipts AS r, pii_vault.login_events AS e WHERE r.seq = 8 AND e.create_date = '2026-01-01' LIMIT 1";
    let widened = findings_after(world, widen).await;
    assert_eq!((&widened[0]["word"], &widened[0]["seq"]), (&"list".into(), &8.into()), "{widened:#?}");
    assert_eq!(widened[0]["what"], "the table lists 6 rows for it, and 5 were recorded");
    let of_8 = "receipt = (SELECT id FROM pii_vault.receipts WHERE seq = 8)";
    for (change, word, seq) in [
        (format!("UPDATE pii_vault.receipt_rows SET event_id = gen_random_uuid() WHERE {of_8} AND ordinal = 3"), "list", 8),
        (format!("UPDATE pii_vault.receipt_rows SET ordinal = 7 WHERE {of_8} AND ordinal = 5"), "list", 8),
        (format!("DELETE FROM pii_vault.receipt_rows WHERE {of_8}"), "list", 8),
        ("INSERT INTO pii_vault.receipt_rows SELECT id, 1, '2026-01-01', gen_random_uuid() FROM pii_vault.receipts
             WHERE seq = 10".to_owned(), "receipt_rows_not_logged", 10),
        ("INSERT INTO pii_vault.receipt_rows VALUES (gen_random_uuid(), 1, '2026-01-01', gen_random_uuid())".to_owned(),
            "receipt_rows_not_logged", 0),
        ("UPDATE pii_vault.receipts SET fields = '{ip,device_id}' WHERE seq = 8".to_owned(), "receipts_differs", 8),
        ("UPDATE pii_vault.receipts SET actor = 'other' WHERE seq = 8".to_owned(), "receipts_differs", 8),
        ("UPDATE pii_vault.receipts SET grant_id = NULL WHERE seq = 5".to_owned(), "receipts_differs", 5),
        ("UPDATE pii_vault.receipts SET value_count = 0 WHERE seq = 8".to_owned(), "receipts_differs", 8),
        ("UPDATE pii_vault.receipts SET row_count = 6 WHERE seq = 8".to_owned(), "receipts_differs", 8),
        ("UPDATE pii_vault.receipts SET kind = 'unmask' WHERE seq = 10".to_owned(), "receipts_differs", 10),
        ("UPDATE pii_vault.receipts SET recorded_at = recorded_at + interval '1 day' WHERE seq = 8".to_owned(), "receipts_differs", 8),
        ("UPDATE pii_vault.receipts SET decision = 'allowed', refusal = NULL WHERE seq = 11".to_owned(), "receipts_differs", 11),
        ("UPDATE pii_vault.receipts SET fields = '{device_id}' WHERE seq = 12".to_owned(), "receipts_differs", 12),
        ("DELETE FROM pii_vault.receipts WHERE seq = 8".to_owned(), "receipts_gone", 8),
        ("INSERT INTO pii_vault.receipts SELECT gen_random_uuid(), kind, 999, recorded_at, recorded_by, actor, fields, case_id,
             grant_id, decision, refusal, row_count, value_count FROM pii_vault.receipts WHERE seq = 8".to_owned(),
            "receipts_not_logged", 999),
        ("UPDATE pii_vault.access_requests SET max_values = 1000 WHERE case_id = 'CASE-1'".to_owned(), "access_requests_differs", 3),
        ("DELETE FROM pii_vault.access_requests WHERE case_id = 'CASE-4'".to_owned(), "access_requests_gone", 14),
        ("UPDATE pii_vault.access_decisions SET verdict = 'approved' WHERE verdict = 'denied'".to_owned(), "access_decisions_differs", 15),
        ("DELETE FROM pii_vault.access_decisions WHERE verdict = 'denied'".to_owned(), "access_decisions_gone", 15),
        ("DELETE FROM pii_vault.access_revocations".to_owned(), "access_revocations_gone", 18),
        ("UPDATE pii_vault.access_revocations SET request = gen_random_uuid()".to_owned(), "access_revocations_differs", 18),
        ("UPDATE pii_vault.access_policy SET alone_limit = 1000".to_owned(), "access_policy_differs", 2),
        ("DELETE FROM pii_vault.access_policy".to_owned(), "access_policy_gone", 2),
        ("INSERT INTO pii_vault.access_policy SELECT 20, 1000, approvals, longest_grant_seconds, case_pattern, checkpoints
             FROM pii_vault.access_policy".to_owned(), "access_policy_not_logged", 20),
    ] {
        assert_found(world, &change, word, seq).await;
    }
    verify(world).done();
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_that_were_read_are_those_of_recorded_jobs() {
    let world = World::vault().await;
    world.set_aside((0..5).map(|number| login(number).to_string())).await;
    world.set_aside(["{".to_owned()]).await;
    let redrive = ["etl", "dead-letters", "redrive", "--all", "--note", "a test"];
    world.pii_vault(Who::Redrive, &redrive).finish().done();
    verify(&world).done();
    // Entry 1 is the init, 2 the job, 3 its page.
    lay_hands_on(&world).await;
    assert_found(&world, "SELECT public.edit(3, 'stored', '7'), public.rechain()", "redrive_page", 3).await;
    assert_found(&world, "DELETE FROM pii_vault.audit_log WHERE seq = 2", "redrive_jobs_not_logged", 2).await;
    for (change, word) in [
        ("DELETE FROM pii_vault.redrive_rows WHERE ordinal = 6", "list"),
        ("UPDATE pii_vault.redrive_jobs SET note = 'another'", "redrive_jobs_differs"),
        ("DELETE FROM pii_vault.redrive_jobs", "redrive_jobs_gone"),
    ] {
        assert_found(&world, change, word, 2).await;
    }
}
