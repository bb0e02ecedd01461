//! All keys of a purpose, from one KMS key to another.

use serde_json::json;

use super::scene::{Door, Mood, TABLES};
use crate::support::{Readers, Traffic, Who, World, keys_seen, login};

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_each_purpose_move_and_what_they_protect_opens_before_and_after() {
    let world = World::vault().await;
    world.set_policy(1_000).await;
    for some in [0..20, 20..30] {
        world.send(some.map(|number| login(number).to_string())).await;
        world.send(["{".to_owned()]).await;
        world.drain(&[]);
    }
    let (events, letters) = (world.opened_events().await, world.opened_dead_letters().await);
    let unmask = ["--since", "2000-01-01", "--until", "2999-01-01", "--format", "json"];
    let unmasked = world.unmask(&unmask).done().stdout;

    for (purpose, table) in TABLES {
        let (old, new) = (world.only_kms_key(table).await, world.another_kms_key().await);
        let stays = world.keys_as_they_stay(table).await;
        let verify = |args: &[&str]| world.kek(&[&["verify", "--purpose", purpose], args].concat()).finish();
        let before = verify(&[]).done().json();
        assert_eq!((&before["target"], &before["left"]), (&json!(old), &json!(0)));
        assert_eq!(verify(&["--to", &new]).exits(1).json()["left"], json!(stays.len()));

        let run = world.kek(&["run", "--purpose", purpose, "--to", &new, "--reason", "yearly"]).finish().done().json();
        let count = stays.len();
        assert_eq!((&run["ended"], &run["changed"], &run["failed"]), (&json!("done"), &json!(count), &json!(0)));
        assert_eq!(world.wrapped_by(table).await, [(new.clone(), count as i64)]);
        assert_eq!(world.keys_as_they_stay(table).await, stays, "{purpose}");
        let after = verify(&["--to", &new]).done().json();
        assert_eq!(after["wrapped_by"], json!([{"kms_key": new, "keys": count}]));
        assert_eq!(
            (&after["complete"], &after["unwrapped"], &after["failed"]),
            (&json!(true), &json!(count), &json!([]))
        );
        // The alias still names the old one.
        assert_eq!(verify(&[]).exits(1).json()["complete"], false);
        let again = world.kek(&["run", "--purpose", purpose, "--to", &new, "--reason", "again"]).finish().done().json();
        assert_eq!((&again["ended"], &again["target"]), (&json!("nothing to do"), &json!(new)));

        let log = world.log("key_rotation").await;
        let [.., start, done] = log.as_slice() else { panic!("{log:?}") };
        assert_eq!((&start["subject"], &done["subject"]), (&run["job"], &run["job"]));
        assert_eq!((&start["reason"], &start["details"]["step"]), (&json!("yearly"), &json!("start")));
        assert_eq!(start["details"]["target_kms_key"], json!(new));
        assert_eq!(start["details"]["source_kms_keys"], json!([old]));
        assert_eq!((&done["details"]["step"], &done["details"]["changed"]), (&json!("done"), &json!(count)));
        world.move_alias(purpose, &new).await;
        verify(&[]).done();
    }

    let opened = world.opened_events().await;
    assert_eq!(opened.len(), 30);
    for (id, event) in &events {
        assert_eq!((&opened[id].ip, &opened[id].device_id), (&event.ip, &event.device_id));
    }
    assert_eq!(world.opened_dead_letters().await.len(), letters.len());
    assert_eq!(world.unmask(&unmask).done().stdout, unmasked);
    // Ingestion goes on under the new ones, and the tokens stay the same.
    world.send([login(3).to_string(), "{".to_owned()]).await;
    world.drain(&[]);
    let opened = world.opened_events().await;
    let tokens: Vec<_> =
        opened.values().filter(|event| event.user_id == "user-3").map(|event| &event.ip_token).collect();
    assert!(tokens.len() == 2 && tokens[0] == tokens[1], "{tokens:?}");
    for (_, table) in TABLES {
        world.only_kms_key(table).await;
    }
    world.pii_vault(Who::Auditor, &["audit", "verify"]).finish().done();
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_each_purpose_move_while_ingestion_and_unmask_go_on() {
    let world = World::vault().await;
    world.ingest(3, 200);
    world.add_data_keys(100).await;
    let before = world.events_as_text().await;
    let letters = ["{", "}"];
    world.send(letters).await;
    let stored = world.events_of_logins().await;
    let readers = Readers::begin(&world).await;
    // New data keys come all the time, and dead-letter keys with each process.
    let mut traffic = Traffic::begin(&world, &["--data-key-values", "1000", "--batch-size", "10"]).await;
    for (purpose, table) in TABLES {
        let (old, new) = (world.only_kms_key(table).await, world.another_kms_key().await);
        world.move_alias(purpose, &new).await;
        let looks = traffic.looks;
        let args = ["run", "--purpose", purpose, "--reason", "x", "--rate", "30/s", "--batch", "5"];
        let run = world.kek(&args);
        let done = format!("pii_vault.rotation_jobs WHERE purpose = '{purpose}' AND step = 'done'");
        traffic.go_on_until(&world, &done).await;
        let ended = run.finish().done().json();
        assert_eq!((&ended["ended"], &ended["failed"]), (&json!("done"), &json!(0)), "{purpose}: {ended}");
        assert!(purpose != "data" || traffic.looks > looks + 1, "{}", traffic.looks);
        world.kek(&["retire", "--purpose", purpose, "--kms-key", &old, "--reason", "left"]).finish().done();
        traffic.go_on(&world).await;
        assert_eq!(world.only_kms_key(table).await, new, "{purpose}: none is left, nor came");
        world.kek(&["verify", "--purpose", purpose, "--sample", "1000"]).finish().done();
    }
    readers.end_of_snapshot().await;
    let mut sent = traffic.end(&world).await;
    let came = sent.len();
    let after = world.events_as_text().await;
    assert_eq!(after.len(), before.len() + came, "none lost, none doubled");
    assert!(before.iter().all(|(id, event)| after.get(id) == Some(event)), "what is in them is what was, tokens too");
    assert_eq!(world.opened_dead_letters().await.len(), letters.len());
    sent.extend(stored);
    let seen = readers.saw().await;
    assert_eq!(keys_seen(&seen, &world.tokens_by_key(&sent).await), [0], "tokens stay, in {} statements", seen.len());
    world.pii_vault(Who::Auditor, &["audit", "verify"]).finish().done();
}

#[tokio::test(flavor = "multi_thread")]
async fn kms_is_called_once_for_a_key_however_many_rows_it_sealed_and_no_faster_than_told() {
    let world = World::vault().await;
    world.send_logins(300).await;
    world.drain(&[]);
    world.add_data_keys(19).await;
    let (new, door) = (world.another_kms_key().await, Door::before_kms(&world, Mood::Usual).await);
    let began = std::time::Instant::now();
    let run = ["run", "--purpose", "data", "--to", &new, "--reason", "x", "--rate", "10/s"];
    assert_eq!(world.kek_through(&door.url, &run).finish().done().json()["changed"], 20);
    assert!(began.elapsed().as_millis() > 1_700, "{:?}", began.elapsed());
    assert_eq!(door.calls(), 20 + 1, "one for each key, and one for the name");
    assert_eq!(world.opened_events().await.len(), 300);
}
