use crate::support::{Who, World, login};

#[tokio::test(flavor = "multi_thread")]
async fn the_list_tells_why_and_never_what() {
    let world = World::vault().await;
    let list = |args: &[&str]| world.pii_vault(Who::Redrive, &[&["etl", "dead-letters", "list"], args].concat());
    assert_eq!(list(&[]).finish().done().stdout, "no dead letters\n");
    assert_eq!(list(&["--output", "json"]).finish().done().stdout, "[]\n");

    let mut bad_ip = login(1);
    bad_ip["ip"] = "canary-ip".into();
    let ids = world.send([bad_ip.to_string(), "{\"canary".to_owned()]).await;
    world.drain(&[]);

    let human = list(&[]).finish().done();
    let json = list(&["--output", "json"]).finish().done();
    for output in [&human.stdout, &human.stderr, &json.stdout, &json.stderr] {
        assert!(!output.contains("canary"), "{output}");
    }
    assert!(human.stdout.contains("invalid_ip") && human.stdout.contains("invalid_json"), "{}", human.stdout);
    assert_eq!(json.json().as_array().map(Vec::len), Some(2));

    let only = list(&["--reason", "invalid_ip", "--output", "json"]).finish().done().json();
    assert_eq!(only.as_array().map(Vec::len), Some(1));
    let letter = &only[0];
    assert_eq!(letter["message_id"], ids[0].to_string());
    assert_eq!(
        (letter["member"].as_str(), letter["size"].as_u64()),
        (Some("ip"), Some(bad_ip.to_string().len() as u64))
    );
    assert_eq!(list(&["--limit", "1", "--output", "json"]).finish().done().json().as_array().map(Vec::len), Some(1));

    list(&["--reason", "mood"]).finish().exits(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_takes_the_role() {
    let world = World::vault().await;
    let refused = world.pii_vault(Who::Ingest, &["etl", "dead-letters", "list"]).finish().exits(1);
    assert!(refused.stderr.contains("GRANT pii_vault_redrive TO"), "{}", refused.stderr);
}
