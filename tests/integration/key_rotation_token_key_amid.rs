//! The token key is rotated, rolled back and rotated again while everything goes on.

use std::sync::Arc;

use serde_json::json;

use crate::support::{Office, Readers, Who, World, keys_seen};

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
    let office = Office::opens(&world).await;
    let readers = Readers::begin(&world).await;
    fill_and_verify(&world, &office).await;
    let waiting = world.administer(&["cut-over"]);
    office.goes_on().await;
    assert_eq!(world.token_states().await, "a active, b pending; a");
    readers.end_of_snapshot().await;
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

    let mut sent = office.closes().await;
    sent.extend(stored);
    world.assert_all_there(&sent).await;
    let keys = world.tokens_by_key(&sent).await;
    let seen = readers.saw().await;
    assert_eq!(keys_seen(&seen, &keys), [0, 1, 0, 2], "{} statements, each under one key", seen.len());
    let under_new = "pii_vault.login_events WHERE token_key_a IS NULL AND token_key_b = \
                     (SELECT id FROM pii_vault.token_keys WHERE state = 'active')";
    assert_eq!(world.count(under_new).await, i64::try_from(sent.len()).unwrap());
    world.pii_vault(Who::Auditor, &["audit", "verify"]).finish().done();
}
