//! Officers at once, by raw SQL: one chain without gaps, and nothing spent twice.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::support::receipts::{arm, fetch, record};
use crate::support::{PASSWORD, Who, World, soak};

/// Record, arm, fetch, settle. Returns how many rows came.
async fn unmask(officer: &Client) -> i64 {
    let receipt = record(officer).await;
    if arm(officer, receipt).await.unwrap() != "allowed" {
        return 0;
    }
    let rows = fetch(officer, receipt).await.unwrap();
    let settle = format!("SELECT pii_vault.settle_unmask('{receipt}', {rows}, '{{}}', '{{}}')");
    officer.batch_execute(&settle).await.unwrap();
    rows
}

async fn all_at_once(sessions: Vec<Client>, times: usize) -> i64 {
    let mut officers = JoinSet::new();
    for officer in sessions {
        officers.spawn(async move {
            let mut rows = 0;
            for _ in 0..times {
                rows += unmask(&officer).await;
            }
            rows
        });
    }
    officers.join_all().await.iter().sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_are_never_overspent_and_the_log_is_one_chain() {
    let doses: &[_] = if soak() { &[(64, 1, 50), (16, 4, 50)] } else { &[(4, 4, 5)] };
    for (logins, sessions, times) in doses {
        spend_quotas_at_once(*logins, *sessions, *times).await;
    }
}

/// Half of the officers may spend a grant, half what is theirs alone.
async fn spend_quotas_at_once(logins: u32, sessions_of_each: u32, times: usize) {
    let (each, granted, alone) = (3, 31, 17);
    let world = World::to_unmask(3, alone).await;
    let mut sessions = Vec::new();
    for number in 0..logins {
        let login = format!("officer{number}_{}", world.id);
        let make = format!("CREATE ROLE {login} LOGIN PASSWORD '{PASSWORD}'; GRANT pii_vault_unmask TO {login}");
        world.sql.batch_execute(&make).await.unwrap();
        for session in 0..sessions_of_each {
            let officer = world.connect_as(&login).await;
            officer.batch_execute("SET ROLE pii_vault_unmask").await.unwrap();
            if session == 0 && number % 2 == 0 {
                world.grant_to(&officer, granted).await;
            }
            sessions.push(officer);
        }
    }
    let rows = all_at_once(sessions, times).await;
    // Of each quota, as often as three values fit.
    let (alone, granted) = (i64::from(alone) / each * each, i64::from(granted) / each * each);
    assert_eq!(rows, i64::from(logins) * alone + i64::from(logins) / 2 * granted);
    let recorded = i64::from(logins * sessions_of_each) * i64::try_from(times).unwrap();
    assert_eq!(world.count("pii_vault.audit_log WHERE action = 'unmask'").await, recorded);
    assert_eq!(world.count("pii_vault.access_grants WHERE used > max_values").await, 0);
    let most = "SELECT max(s) FROM (SELECT sum(value_count)::bigint AS s FROM pii_vault.receipts
        WHERE decision = 'allowed' AND grant_id IS NULL GROUP BY actor) AS x";
    assert_eq!(world.sql.query_one(most, &[]).await.unwrap().get::<_, i64>(0), alone);
    world.assert_one_chain().await;
}

/// Two transactions that are open at once, and savepoints in them: the second waits for the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_spent_once_by_open_transactions() {
    let world = World::to_unmask(3, 5).await;
    let (one, two) = (world.connect(Who::Officer).await, world.connect(Who::Officer).await);
    one.batch_execute("BEGIN; SAVEPOINT s").await.unwrap();
    record(&one).await;
    one.batch_execute("RELEASE s").await.unwrap();
    let waiting = tokio::spawn(async move {
        two.batch_execute("BEGIN").await.unwrap();
        let receipt = record(&two).await;
        two.batch_execute("COMMIT").await.unwrap();
        arm(&two, receipt).await
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let again = record(&one).await;
    one.batch_execute("COMMIT").await.unwrap();
    assert_eq!(arm(&one, again).await.as_deref(), Ok("alone_limit"), "in its own transaction as well");
    assert_eq!(waiting.await.unwrap().as_deref(), Ok("alone_limit"));
    world.assert_one_chain().await;
}
