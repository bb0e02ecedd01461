use serde_json::json;

use crate::support::{Who, World, login};

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_beyond_the_age_go_and_the_records_stay() {
    let world = World::vault().await;
    world.set_aside((0..5).map(|number| login(number).to_string())).await;
    let redrive = ["etl", "dead-letters", "redrive", "--all", "--note", "x"];
    world.pii_vault(Who::Redrive, &redrive).finish().done();
    world.set_aside(["{", "}", "young"]).await;
    let old =
        "UPDATE pii_vault.dead_letters SET received_at = received_at - interval '90 days 1 minute' WHERE size <> 5";
    assert_eq!(world.sql.execute(old, &[]).await.unwrap(), 7);

    let retention = |args: &[&str]| {
        let all = [&["retention", "--dead-letters", "90d", "--output", "json"], args].concat();
        world.pii_vault(Who::Administrator, &all).finish().done().json()
    };
    let expired = json!({"expired": 7, "never_redriven": 2});
    assert_eq!(retention(&["--dry-run"]), json!({"dry_run": true, "dead_letters": expired}));
    assert_eq!(world.count("pii_vault.dead_letters").await, 8);
    assert_eq!(retention(&[]), json!({"dry_run": false, "dead_letters": expired}));
    assert_eq!(world.count("pii_vault.dead_letters").await, 1);
    assert_eq!(retention(&[])["dead_letters"]["expired"], 0);
    assert_eq!(world.count("pii_vault.redrive_rows WHERE outcome = 'stored'").await, 5);
    assert_eq!(world.count("pii_vault.login_events").await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_the_owners_and_never_below_a_day() {
    let world = World::vault().await;
    for age in ["90", "23h", "0d", "soon"] {
        world.pii_vault(Who::Administrator, &["retention", "--dead-letters", age]).finish().exits(2);
    }
    world.pii_vault(Who::Administrator, &["retention"]).finish().exits(2);
    for who in [Who::Ingest, Who::Redrive] {
        let refused = world.pii_vault(who, &["retention", "--dead-letters", "90d"]).finish().exits(1);
        assert!(refused.stderr.contains("GRANT pii_vault_owner TO"), "{}", refused.stderr);
    }
}
