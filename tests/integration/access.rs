//! `access request`, `approve`, `deny`, `revoke`, `list`: the life of a grant, and what it opens for raw SQL.

use crate::support::{Who, World, record, sqlstate};

async fn vault(policy: &[&str]) -> World {
    let world = World::vault().await;
    world.policy_set(policy);
    world
}

/// Three rows on the first day, two values each; ten on the second.
async fn with_events(policy: &[&str]) -> World {
    let world = vault(policy).await;
    world.allow_raw_events().await;
    world.add_raw_events("2026-01-01", 3).await;
    world.add_raw_events("2026-01-02", 10).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_asked_for_approved_used_and_revoked() {
    let world = with_events(&["--alone-limit", "0"]).await;
    let officer = world.connect(Who::Officer).await;
    assert_eq!(record(&officer, "ip", "C1", "2026-01-01", None).await, "alone_limit");

    let asked = world.request(Who::Officer, "C1", "8").done().json();
    let id = asked["id"].as_str().unwrap();
    assert_eq!((&asked["state"], &asked["approvals_needed"]), (&"pending".into(), &1.into()), "{asked}");
    assert_eq!(asked["requester"], format!("officer_{}", world.id));
    assert_eq!(asked["fields"], serde_json::json!(["ip", "device_id"]));
    assert_eq!(record(&officer, "ip", "C1", "2026-01-01", None).await, "not_approved");
    assert_eq!(record(&officer, "ip", "C1", "2026-01-01", Some(id)).await, "not_approved");

    let approved = world.access(Who::Approver, &["approve", id, "--reason", "legal agrees"]).done().json();
    assert_eq!(approved["state"], "granted");
    assert_eq!(approved["approved_by"], serde_json::json!([format!("approver_{}", world.id)]));
    let (from, until) = (approved["granted_at"].as_str().unwrap(), approved["expires_at"].as_str().unwrap());
    assert!(from.ends_with('Z') && until.ends_with('Z') && from < until, "{approved}");

    // Fields, quota, case: of eight values, six and then no more than two.
    assert_eq!(record(&officer, "ip,device_id", "C1", "2026-01-01", None).await, id);
    assert_eq!(record(&officer, "ip,device_id", "C1", "2026-01-01", None).await, "used_up");
    assert_eq!(record(&officer, "ip", "C1", "2026-01-02", Some(id)).await, "used_up");
    assert_eq!(record(&officer, "ip", "C2", "2026-01-01", Some(id)).await, "other_case");
    assert_eq!(record(&officer, "ip", "C2", "2026-01-01", None).await, "alone_limit");
    let colleague = world.connect(Who::Colleague).await;
    assert_eq!(record(&colleague, "ip", "C1", "2026-01-01", Some(id)).await, "unknown_grant");
    assert_eq!(world.access(Who::Officer, &["list"]).done().json()[0]["used"], 6);

    let revoked = world.access(Who::Approver, &["revoke", id]).done().json();
    assert_eq!(revoked["state"], "revoked");
    assert_eq!(record(&officer, "ip", "C1", "2026-01-01", Some(id)).await, "revoked");
    world.access(Who::Approver, &["approve", id]).exits(3);

    let log = world.actions_from(2).await.join(", ");
    assert_eq!(
        log,
        "policy, unmask alone_limit, access_request, unmask not_approved, unmask not_approved, access_approval, unmask, \
         unmask used_up, unmask used_up, unmask other_case, unmask alone_limit, unmask unknown_grant, access_revocation, \
         unmask revoked, access_approval already_decided"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_approves_what_they_asked_for() {
    let world = vault(&[]).await;
    world.sql.batch_execute(&format!("GRANT pii_vault_approver TO officer_{}", world.id)).await.unwrap();
    let id = world.requested(Who::Officer, "C1", "5");
    for verb in ["approve", "deny"] {
        let refused = world.access(Who::Officer, &[verb, &id]).exits(3);
        assert_eq!(refused.json()["refused"], "own_request");
        assert!(refused.json()["next"].as_str().unwrap().contains("another login"));
    }
    // By nobody's function: the table itself refuses, whoever writes to it.
    for who in [format!("officer_{}", world.id), "somebody".to_owned()] {
        let sql = format!(
            "INSERT INTO pii_vault.access_decisions (request, requester, decided_by, decided_at, verdict)
             VALUES ('{id}', '{who}', '{who}', now(), 'approved')"
        );
        assert_eq!(sqlstate(&world.sql, &sql).await.as_deref(), Some("23514"), "{who}");
    }
    // Nor under the name of another who asked.
    let sql = format!(
        "INSERT INTO pii_vault.access_decisions (request, requester, decided_by, decided_at, verdict)
         VALUES ('{id}', 'another', 'officer_{}', now(), 'approved')",
        world.id
    );
    assert_eq!(sqlstate(&world.sql, &sql).await.as_deref(), Some("23503"));
    assert_eq!(world.state(&id).await, "pending");
    world.access(Who::Colleague, &["approve", &id]).exits(1);
    assert_eq!(world.actions_from(3).await[1..], ["access_approval own_request", "access_denial own_request"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_approvals_are_two_peoples() {
    let world = vault(&["--approvals", "2"]).await;
    let id = world.requested(Who::Officer, "C1", "5");
    assert_eq!(world.access(Who::Approver, &["approve", &id]).done().json()["state"], "pending");
    let again = world.access(Who::Approver, &["approve", &id]).exits(3).json();
    assert_eq!(again["refused"], "already_decided");
    let human = world.pii_vault(Who::SecondApprover, &["access", "approve", &id]).finish().done();
    assert!(human.stdout.starts_with(&format!("approved  {id}: granted until 2")), "{}", human.stdout);
    assert_eq!(world.access(Who::SecondApprover, &["approve", &id]).exits(3).json()["refused"], "already_decided");
    assert_eq!(world.access(Who::SecondApprover, &["deny", &id]).exits(3).json()["refused"], "already_decided");
    let unknown = "d57dc55b-7b83-4291-9c1c-6978ad80b679";
    assert_eq!(world.access(Who::Approver, &["approve", unknown]).exits(3).json()["refused"], "unknown_request");

    // Granted by one; the policy is tightened; it waits for another; it is denied, for good.
    world.policy_set(&["--approvals", "1"]);
    let id = world.requested(Who::Officer, "C2", "5");
    assert_eq!(world.access(Who::Approver, &["approve", &id]).done().json()["state"], "granted");
    assert_eq!(world.access(Who::SecondApprover, &["approve", &id]).exits(3).json()["refused"], "already_granted");
    world.policy_set(&["--approvals", "2"]);
    assert_eq!(world.state(&id).await, "pending");
    assert_eq!(world.access(Who::SecondApprover, &["deny", &id, "--reason", "no"]).done().json()["state"], "denied");
    world.policy_set(&["--approvals", "1"]);
    assert_eq!(world.state(&id).await, "denied");
    for who in [Who::Approver, Who::SecondApprover] {
        assert_eq!(world.access(who, &["approve", &id]).exits(3).json()["refused"], "already_decided");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_ends_by_time_by_its_officer_or_by_denial() {
    let world = with_events(&["--alone-limit", "20", "--longest-grant", "30m"]).await;
    let officer = world.connect(Who::Officer).await;
    let refused = world.request(Who::Officer, "C1", "50").exits(3).json();
    assert_eq!(refused["refused"], "too_long");
    world.policy_set(&["--longest-grant", "2h"]);
    let id = world.requested(Who::Officer, "C1", "50");
    world.access(Who::Approver, &["approve", &id]).done();
    let later = "UPDATE pii_vault.access_decisions SET decided_at = decided_at - interval '59 minutes'";
    world.sql.batch_execute(later).await.unwrap();
    assert_eq!(record(&officer, "ip", "C1", "2026-01-01", Some(&id)).await, id);
    // The policy's longest holds for what runs, too.
    world.policy_set(&["--longest-grant", "30m"]);
    assert_eq!(record(&officer, "ip", "C1", "2026-01-01", Some(&id)).await, "expired");
    world.policy_set(&["--longest-grant", "2h"]);
    world
        .sql
        .batch_execute("UPDATE pii_vault.access_decisions SET decided_at = decided_at - interval '1 minute'")
        .await
        .unwrap();
    assert_eq!(record(&officer, "ip", "C1", "2026-01-01", Some(&id)).await, "expired");
    assert_eq!(world.access(Who::Auditor, &["list", "--state", "expired"]).done().json().as_array().unwrap().len(), 1);

    // Withdrawn by who asked, who may open some of the case alone as before; not so after another's no.
    let id = world.requested(Who::Officer, "C2", "50");
    assert_eq!(world.access(Who::Colleague, &["revoke", &id]).exits(3).json()["refused"], "not_yours");
    assert_eq!(world.access(Who::Officer, &["revoke", &id]).done().json()["state"], "revoked");
    assert_eq!(world.access(Who::Approver, &["approve", &id]).exits(3).json()["refused"], "already_decided");
    assert_eq!(record(&officer, "ip", "C2", "2026-01-01", None).await, "alone");
    let id = world.requested(Who::Officer, "C2", "50");
    world.access(Who::Approver, &["deny", &id]).done();
    assert_eq!(record(&officer, "ip", "C2", "2026-01-01", None).await, "denied");
    assert_eq!(
        world.access(Who::Officer, &["revoke", "d57dc55b-7b83-4291-9c1c-6978ad80b679"]).exits(3).json()["refused"],
        "unknown_request"
    );
    let log = world.actions_from(1).await;
    for line in
        ["access_request too_long", "access_revocation not_yours", "access_revocation unknown_request", "access_denial"]
    {
        assert_eq!(log.iter().filter(|entry| *entry == line).count(), 1, "{line}: {log:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_for_its_fields() {
    let world = with_events(&["--alone-limit", "0"]).await;
    let officer = world.connect(Who::Officer).await;
    let ask = ["request", "--fields", "ip", "--case", "C1", "--max-values", "50", "--for", "60", "--reason", "why"];
    let asked = world.access(Who::Officer, &ask).done().json();
    let id = asked["id"].as_str().unwrap();
    world.access(Who::Approver, &["approve", id]).done();
    assert_eq!(record(&officer, "device_id", "C1", "2026-01-01", None).await, "other_fields");
    assert_eq!(record(&officer, "ip,device_id", "C1", "2026-01-01", Some(id)).await, "other_fields");
    assert_eq!(record(&officer, "ip", "C1", "2026-01-01", Some(id)).await, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn officers_see_their_own_and_no_text_drives_a_terminal() {
    let world = vault(&[]).await;
    let hostile = "\u{1b}[2J\u{9b}31m\u{202e}\nDROP";
    let ask = ["access", "request", "--fields", "ip", "--case", "C-\u{27}1", "--max-values", "1", "--for", "1h"];
    let asked = world.pii_vault(Who::Officer, &[&ask[..], &["--reason", hostile]].concat()).finish().done();
    assert!(asked.stdout.contains("waits for 1 approval\nnext: another login approves it"), "{}", asked.stdout);
    world.requested(Who::Colleague, "C2", "5");
    for (who, count) in [(Who::Officer, 1), (Who::Colleague, 1), (Who::Approver, 2), (Who::Auditor, 2)] {
        let listed = world.access(who, &["list"]).done().json();
        assert_eq!(listed.as_array().unwrap().len(), count, "{who:?} {listed}");
    }
    for who in [Who::Analyst, Who::Ingest, Who::Lookup, Who::Redrive] {
        let refused = world.access(who, &["list"]).exits(1);
        assert!(refused.stderr.contains("none of the roles pii_vault_approver, "), "{}", refused.stderr);
    }
    for (args, cases) in [(["--limit", "1"].as_slice(), ["C2"].as_slice()), (&["--all"], &["C2", "C-'1"])] {
        let latest = world.access(Who::Approver, &[&["list"], args].concat()).done().json();
        let told: Vec<_> = latest.as_array().unwrap().iter().map(|grant| grant["case"].as_str().unwrap()).collect();
        assert_eq!(told, cases);
    }
    let listed = world.access(Who::Approver, &["list", "--case", "C-'1", "--state", "pending"]).done().json();
    assert_eq!(listed[0]["reason"], hostile);
    let human = world.pii_vault(Who::Approver, &["access", "list"]).finish().done().stdout;
    assert!(human.contains("\\u{1b}[2J\\u{9b}31m\\u{202e}\\nDROP"), "{human}");
    assert_eq!(human.lines().count(), 3, "{human}");
    assert!(!human.chars().any(|character| character.is_control() && character != '\n'));
    let none = world.pii_vault(Who::Approver, &["access", "list", "--case", "C9"]).finish().done();
    assert_eq!(none.stdout, "no requests\n");
}
