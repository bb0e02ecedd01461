//! The token key is rotated, rolled back and rotated again while everything goes on.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::{Analyst, DAY, Office, Who, World, keys_seen};

/// Events of before by their ip and by their device, as her own view shows them.
type Groups = Vec<Vec<Uuid>>;

async fn groups(analyst: &Client) -> Groups {
    let rows = analyst.query("SELECT events FROM mine.repeated ORDER BY 1", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn with_her_own_view(world: &World) -> Client {
    let analyst = world.connect(Who::Analyst).await;
    world.sql.batch_execute("CREATE SCHEMA mine AUTHORIZATION pii_vault_analyst").await.unwrap();
    analyst
        .batch_execute(&format!(
            "CREATE VIEW mine.repeated AS
             SELECT array_agg(event_id ORDER BY event_id) AS events FROM user_logins WHERE create_date = '{DAY}'
             GROUP BY GROUPING SETS ((masked_ip), (masked_device_id)) HAVING count(*) > 1",
        ))
        .await
        .unwrap();
    analyst
}

async fn fill_and_verify(world: &World, office: &Office) {
    let filled = world.token_key(&["run", "--reason", "a test", "--batch", "100", "--rate", "2000/s"]).done().json();
    assert_eq!((&filled["ended"], &filled["failed"]), (&json!("filled"), &json!(0)), "{filled}");
    assert_eq!(world.token_key(&["verify"]).done().json()["verified"], true);
    office.goes_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_rotated_rolled_back_and_rotated_again_while_all_go_on() {
    let world = Arc::new(World::vault().await);
    world.ingest(2, 600);
    let stored = world.events_of_logins().await;
    let old_snapshot = world.connect(Who::Analyst).await;
    let shown = async || -> Vec<(Uuid, String, String)> {
        let sql = "SELECT event_id, masked_ip::text, masked_device_id::text FROM user_logins ORDER BY 1";
        let rows = old_snapshot.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
    };
    let office = Office::opens(&world).await;
    let reader = Analyst::asks(world.connect(Who::Analyst).await, Duration::from_millis(100));
    let analyst = with_her_own_view(&world).await;
    let before = groups(&analyst).await;
    assert_eq!(before.len(), 700, "ips, and devices");
    let watched = before.clone();
    let watching = tokio::spawn(async move {
        loop {
            assert_eq!(groups(&analyst).await, watched);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });

    old_snapshot.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    let first = shown().await;
    fill_and_verify(&world, &office).await;
    let waiting = world.administer(&["cut-over"]);
    office.goes_on().await;
    assert_eq!(shown().await, first);
    assert_eq!(world.token_states().await, "a active, b pending; a");
    old_snapshot.batch_execute("COMMIT").await.unwrap();
    waiting.finish().done();
    assert_eq!(world.token_states().await, "a pending, b active; b");
    office.goes_on().await;
    world.administer(&["rollback", "--reason", "a dashboard"]).finish().done();
    assert_eq!(world.token_states().await, "a active, b decrypt-only; a");
    office.goes_on().await;

    fill_and_verify(&world, &office).await;
    world.administer(&["cut-over"]).finish().done();
    office.goes_on().await;
    world.administer(&["finish"]).finish().done();
    office.goes_on().await;
    let retired = world.administer(&["retire", "--reason", "rotated"]).finish().done().json();
    assert_eq!(retired["keys"].as_array().unwrap().len(), 2);
    assert_eq!(world.token_states().await, "a retired, b retired, b active; b");
    office.goes_on().await;

    assert!(!watching.is_finished(), "the duplicates of before were the same in each report");
    watching.abort();
    let mut sent = office.closes().await;
    sent.extend(stored);
    world.assert_all_there(&sent).await;
    let keys = world.tokens_by_key(&sent).await;
    let seen = reader.saw().await;
    assert_eq!(keys_seen(&seen, &keys), [0, 1, 0, 2], "{} statements, each under one key", seen.len());
    let under_new = "pii_vault.login_events WHERE token_key_a IS NULL AND token_key_b = \
                     (SELECT id FROM pii_vault.token_keys WHERE state = 'active')";
    assert_eq!(world.count(under_new).await, i64::try_from(sent.len()).unwrap());
    world.pii_vault(Who::Auditor, &["audit", "verify"]).finish().done();
}
