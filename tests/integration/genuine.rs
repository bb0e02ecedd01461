use std::env;
use std::io::Write as _;

use serde_json::Value;

use crate::support::World;

/// The messages of the original queue, which the project does not ship.
#[tokio::test(flavor = "multi_thread")]
async fn the_genuine_messages_give_99_rows_and_one_dead_letter() {
    let Some(file) = env::var_os("PII_VAULT_GENUINE_FILE") else {
        // Not `eprintln!`, which the test harness keeps to itself when a test passes.
        let said = writeln!(std::io::stderr(), "SKIPPED: PII_VAULT_GENUINE_FILE names no file of the genuine messages");
        return said.expect("standard error");
    };
    let bodies: Vec<String> =
        std::fs::read_to_string(&file).expect("PII_VAULT_GENUINE_FILE").lines().map(ToOwned::to_owned).collect();
    assert_eq!(bodies.len(), 100);
    let world = World::vault().await;
    let ids = world.send(bodies.clone()).await;
    let summary = world.drain(&[]);
    assert_eq!((summary["received"].as_u64(), summary["stored"].as_u64()), (Some(100), Some(99)));
    assert_eq!(summary["dead_letters"], serde_json::json!({"missing_field": 1}));

    let (events, letters) = (world.opened_events().await, world.opened_dead_letters().await);
    assert_eq!((events.len(), letters.len()), (99, 1));
    let mut nulls = 0;
    for (index, (id, body)) in ids.iter().zip(&bodies).enumerate() {
        if index == 12 {
            let letter = &letters[id];
            assert_eq!((letter.body.as_str(), letter.member.as_deref()), (body.as_str(), Some("user_id")));
            continue;
        }
        let (event, sent): (_, Value) = (&events[id], serde_json::from_str(body).expect("JSON"));
        assert_eq!(sent["ip"], event.ip.as_str());
        assert_eq!(sent["device_id"], event.device_id.as_str());
        assert_eq!(sent["user_id"], event.user_id.as_str());
        assert_eq!(sent["app_version"], event.app_version.as_str());
        assert_eq!(sent["device_type"], event.device_type.as_str());
        assert_eq!(sent["locale"].as_str(), event.locale.as_deref());
        nulls += usize::from(event.locale.is_none());
    }
    assert_eq!(nulls, 29);

    // An officer gets them back as they were sent.
    world.set_policy(198).await;
    let run = world.unmask(&["--since", "2000-01-01", "--until", "2999-01-01", "--format", "json"]).done();
    let lines = run.lines();
    assert_eq!(lines.len(), 99);
    for line in lines {
        let id: uuid::Uuid = line["event_id"].as_str().expect("text").parse().expect("a UUID");
        let body = &bodies[ids.iter().position(|sent| *sent == id).expect("one of them")];
        let sent: Value = serde_json::from_str(body).expect("JSON");
        for member in ["user_id", "ip", "device_id"] {
            assert_eq!(line[member], sent[member], "{id}");
        }
    }
    assert_eq!(world.queue_depth().await, (0, 0));
}
