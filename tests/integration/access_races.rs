//! Who holds the audit log holds up nobody for long, and a revocation not at all.

use std::time::{Duration, Instant};

use crate::support::{Finished, Who, World};

async fn granted(world: &World) -> String {
    world.policy_set(&[]);
    let id = world.requested(Who::Officer, "C1", "50");
    world.access(Who::Approver, &["approve", &id]).done();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_waits_for_nobody() {
    let world = World::vault().await;
    let id = granted(&world).await;
    // An officer who idles in a transaction has the head of the log.
    let idler = world.connect(Who::Colleague).await;
    idler.batch_execute("BEGIN").await.unwrap();
    idler.query_one("SELECT pii_vault.request_access('{ip}', 'why', 'C9', 1, 60)", &[]).await.unwrap();
    let begun = Instant::now();
    let running = world.pii_vault(Who::Approver, &["access", "revoke", &id, "--reason", "left"]);
    while world.state(&id).await != "revoked" {
        assert!(begun.elapsed() < Duration::from_secs(2), "not in force");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let in_force = begun.elapsed();
    let finished = running.finish().done();
    println!("in force after {in_force:?}, the command after {:?}", begun.elapsed());
    assert!(in_force < Duration::from_secs(2) && begun.elapsed() < Duration::from_secs(8));
    assert!(finished.stdout.starts_with(&format!("revoked  {id}")), "{}", finished.stdout);
    assert!(finished.stderr.contains("in force, but not in the audit log yet"), "{}", finished.stderr);
    assert!(finished.stderr.contains("pii-vault doctor"), "{}", finished.stderr);
    let unchained = "pii_vault.access_revocations WHERE seq IS NULL";
    assert_eq!(world.count(unchained).await, 1);

    idler.batch_execute("ROLLBACK").await.unwrap();
    world.requested(Who::Colleague, "C2", "5");
    assert_eq!(world.count(unchained).await, 0);
    let sql =
        "SELECT actor, reason, case_id, subject::text FROM pii_vault.audit_log WHERE action = 'access_revocation'";
    let row = world.sql.query_one(sql, &[]).await.unwrap();
    let told: (String, &str, &str, &str) = (row.get(0), row.get(1), row.get(2), row.get(3));
    assert_eq!(told, (format!("approver_{}", world.id), "left", "C1", &*id));
    assert_eq!(world.actions_from(5).await, ["access_revocation", "access_request"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_log_is_told_in_time_and_doctor_names_who_holds_it() {
    let world = World::vault().await;
    world.policy_set(&[]);
    let idler = world.connect(Who::Colleague).await;
    idler.batch_execute("BEGIN").await.unwrap();
    idler.query_one("SELECT pii_vault.request_access('{ip}', 'why', 'C1', 1, 60)", &[]).await.unwrap();
    let begun = Instant::now();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let ask = ["access", "request", "--fields", "ip", "--case", "C1", "--max-values", "1", "--for", "1h"];
            world.pii_vault(Who::Officer, &[&ask[..], &["--reason", "why"]].concat())
        })
        .collect();
    let doctor = world.pii_vault(Who::Administrator, &["doctor", "--output", "json", "--queue-url", ""]).finish();
    let refused: Vec<Finished> = waiting.into_iter().map(|running| running.finish().exits(1)).collect();
    println!("three were told after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_millis(6500), "{:?}", begun.elapsed());
    for finished in &refused {
        assert!(finished.stderr.contains("another transaction has held the audit log"), "{}", finished.stderr);
        assert!(finished.stderr.contains("pii-vault doctor"), "{}", finished.stderr);
    }
    let finding =
        doctor.json().as_array().unwrap().iter().find(|line| line["check"] == "audit-log-lock").unwrap().clone();
    let detail = finding["detail"].as_str().unwrap();
    assert_eq!(finding["status"], "fail", "{finding}");
    assert!(detail.contains(&format!("(colleague_{}", world.id)), "{detail}");
    assert!(!detail.contains("officer_") && detail.contains("sessions wait"), "{detail}");
    let pid: i32 = idler.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    assert!(finding["advice"].as_str().unwrap().contains(&format!("pg_terminate_backend({pid})")), "{finding}");
    idler.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(world.count("pii_vault.access_requests").await, 0, "what is not recorded is not done");
    world.requested(Who::Officer, "C1", "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_approve_at_once_count_once_each() {
    let world = World::vault().await;
    world.policy_set(&["--approvals", "2"]);
    for case in 0..5 {
        let id = world.requested(Who::Officer, &format!("C{case}"), "5");
        let approvers = [Who::Approver, Who::SecondApprover, Who::Approver, Who::SecondApprover];
        let running = approvers.map(|who| world.pii_vault(who, &["access", "approve", &id]));
        let mut codes = running.map(|running| running.finish().code());
        codes.sort_unstable();
        assert_eq!(codes, [Some(0), Some(0), Some(3), Some(3)]);
        assert_eq!(world.state(&id).await, "granted");
    }
    assert_eq!(world.count("pii_vault.access_decisions").await, 10);
    let log = world.actions_from(1).await;
    assert_eq!(log.iter().filter(|line| *line == "access_approval").count(), 10, "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_first_a_revoked_request_opens_nothing() {
    let world = World::vault().await;
    world.policy_set(&[]);
    for case in 0..5 {
        let id = world.requested(Who::Officer, &format!("C{case}"), "5");
        let approve = world.pii_vault(Who::SecondApprover, &["access", "approve", &id]);
        let revoke = world.pii_vault(Who::Approver, &["access", "revoke", &id]);
        assert!(matches!(approve.finish().code(), Some(0 | 3)));
        revoke.finish().done();
        assert_eq!(world.state(&id).await, "revoked");
    }
    assert_eq!(world.count("pii_vault.audit_log WHERE action = 'access_revocation'").await, 5);
    // Gapless, and each row after the one before.
    let sql = "SELECT count(*) = max(seq) FROM pii_vault.audit_log";
    assert!(world.sql.query_one(sql, &[]).await.unwrap().get::<_, bool>(0));
}
