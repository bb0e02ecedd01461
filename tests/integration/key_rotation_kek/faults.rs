//! KMS throttles, is away, or has a KMS key disabled, in the middle of a rotation.

use serde_json::json;

use super::scene::{Door, Mood};
use crate::support::{Who, World};

const KEYS: i64 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn kms_is_waited_for_and_the_rotation_goes_on() {
    let world = World::vault().await;
    world.add_data_keys(KEYS as i32).await;
    for mood in [
        Mood::Says("ThrottlingException"),
        Mood::Says("DisabledException"),
        Mood::Says("KMSInvalidStateException"),
        Mood::Away,
    ] {
        let (new, door) = (world.another_kms_key().await, Door::before_kms(&world, Mood::Usual).await);
        let args = ["run", "--purpose", "data", "--to", &new, "--reason", "x", "--rate", "40", "--batch", "5"];
        let run = world.kek_through(&door.url, &[&args[..], &["--patience", "60s"]].concat());
        world.wait_for_changed(5).await;
        door.mood.send_replace(mood);
        door.turned_away(10).await;
        door.mood.send_replace(Mood::Usual);
        let ended = run.finish().done().json();
        assert_eq!((&ended["changed"], &ended["failed"]), (&json!(KEYS), &json!(0)), "{mood:?}");
        assert_eq!(door.calls() as i64, KEYS + 1, "{mood:?}: what was wrapped was not asked for again");
        assert_eq!(world.only_kms_key("data_keys").await, new);
    }
}

/// In KMS itself, by DisableKey.
#[tokio::test(flavor = "multi_thread")]
async fn a_kms_key_of_either_side_that_is_disabled_is_waited_for_until_it_is_enabled() {
    let world = World::vault().await;
    world.add_data_keys(KEYS as i32).await;
    let (old, new) = (world.only_kms_key("data_keys").await, world.another_kms_key().await);
    let door = Door::before_kms(&world, Mood::Usual).await;
    let args = ["run", "--purpose", "data", "--to", &new, "--reason", "x", "--rate", "20", "--batch", "5"];
    let mut run = world.kek_through(&door.url, &args);
    for (changed, side) in [(5, &old), (20, &new)] {
        world.wait_for_changed(changed).await;
        world.set_kms_key_enabled(side, false).await;
        run.wait_for_log(&format!("{side} is disabled"));
        world.set_kms_key_enabled(side, true).await;
    }
    let ended = run.finish().done().json();
    assert_eq!((&ended["changed"], &ended["failed"]), (&json!(KEYS), &json!(0)));
    assert_eq!(world.only_kms_key("data_keys").await, new);
    assert!(door.calls() as i64 > KEYS + 1, "KMS was asked again");
}

/// So that a peer that is stopped meanwhile does not pause the job.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_kms_is_seen() {
    let world = World::vault().await;
    world.add_data_keys(KEYS as i32).await;
    let (new, door) = (world.another_kms_key().await, Door::before_kms(&world, Mood::Usual).await);
    let args = ["run", "--purpose", "data", "--to", &new, "--reason", "x", "--batch", "5", "--workers", "1"];
    let run = world.kek_through(&door.url, &[&args[..], &["--rate", "20/s", "--patience", "60s"]].concat());
    world.wait_for_changed(5).await;
    door.mood.send_replace(Mood::Away);
    door.turned_away(4).await;
    let seen = async || world.count("pii_vault.rotation_runners WHERE seen_at > now() - interval '1 minute'").await;
    let old = "UPDATE pii_vault.rotation_runners SET seen_at = now() - interval '2 minutes'";
    world.sql.execute(old, &[]).await.unwrap();
    assert_eq!(seen().await, 0);
    let since = std::time::Instant::now();
    while seen().await == 0 {
        assert!(since.elapsed().as_secs() < 30, "nobody sees it");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let peer = "SELECT pii_vault.leave_rotation(j.id, gen_random_uuid()) FROM pii_vault.rotation_jobs AS j";
    world.connect(Who::Rewrap).await.execute(peer, &[]).await.unwrap();
    assert_eq!(world.count("pii_vault.rotation_jobs WHERE paused").await, 0);
    door.mood.send_replace(Mood::Usual);
    assert_eq!(run.finish().done().json()["changed"], KEYS);
}

#[tokio::test(flavor = "multi_thread")]
async fn patience_ends_and_what_was_wrapped_stays() {
    let world = World::vault().await;
    world.add_data_keys(KEYS as i32).await;
    for (mood, said) in [
        (Mood::Says("DisabledException"), "DisabledException"),
        (Mood::Away, "no answer"),
        // Somebody has to do something about it: it is not waited for.
        (Mood::Says("AccessDeniedException"), "keys/README.md"),
    ] {
        let (new, door) = (world.another_kms_key().await, Door::before_kms(&world, Mood::Usual).await);
        let args = ["run", "--purpose", "data", "--to", &new, "--reason", "x", "--rate", "40", "--batch", "5"];
        let run = world.kek_through(&door.url, &[&args[..], &["--patience", "1s"]].concat());
        world.wait_for_changed(5).await;
        door.mood.send_replace(mood);
        let ended = run.finish().exits(1);
        assert!(ended.stderr.contains(said) && ended.stderr.contains("run it again"), "{}", ended.stderr);
        let (stored, calls) = (world.wrapped_by("data_keys").await, door.calls() as i64);
        let stored = stored.iter().find(|(by, _)| *by == new).map_or(0, |(_, count)| *count);
        assert_eq!(stored, calls - 1, "{mood:?}: what KMS wrapped is stored, also of the page that ended");
        assert_eq!(world.count("pii_vault.rotation_failures").await, 0);
        let ended = world.kek(&["run", "--purpose", "data"]).finish().done().json();
        assert_eq!((&ended["changed"], &ended["failed"]), (&json!(KEYS), &json!(0)), "{mood:?}");
    }
}
