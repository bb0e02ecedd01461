//! Rows that do not open, and services that are away.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use crate::support::{Relay, Who, World, login};

const ALL: [&str; 6] = ["--since", "2000-01-01", "--until", "2999-01-01", "--format", "json"];

#[tokio::test(flavor = "multi_thread")]
async fn what_was_altered_or_moved_is_told_by_event_and_reason_and_the_rest_comes() {
    let world = World::vault().await;
    world.set_policy(1_000).await;
    // Each run has a data key of its own.
    let (mut ids, mut keys) = (Vec::new(), Vec::<Uuid>::new());
    for some in [0..10, 10..11, 11..12, 12..13] {
        ids.extend(world.send(some.map(|number| login(number).to_string())).await);
        world.drain(&[]);
        let newest = "SELECT id FROM pii_vault.data_keys ORDER BY created_at DESC LIMIT 1";
        keys.push(world.sql.query_one(newest, &[]).await.unwrap().get(0));
    }
    let event =
        |index: usize, set: &str| format!("UPDATE pii_vault.login_events SET {set} WHERE event_id = '{}'", ids[index]);
    let key = |index: usize, set: &str| format!("UPDATE pii_vault.data_keys SET {set} WHERE id = '{}'", keys[index]);
    let of = |column: &str, index: usize| {
        format!("(SELECT {column} FROM pii_vault.login_events WHERE event_id = '{}')", ids[index])
    };
    for sql in [
        event(1, "ip_ciphertext = set_byte(ip_ciphertext, 40, get_byte(ip_ciphertext, 40) # 1)"),
        event(2, &format!("ip_ciphertext = {}", of("ip_ciphertext", 3))),
        event(4, "user_id = 'another'"),
        event(5, &format!("data_key_id = '{}'", keys[1])),
        event(6, &format!("data_key_id = '{}'", Uuid::new_v4())),
        event(7, "device_id_ciphertext = set_byte(device_id_ciphertext, 0, 9)"),
        event(8, "device_id_ciphertext = set_byte(device_id_ciphertext, 1, 255)"),
        event(9, "create_date = create_date - 1"),
        key(1, "commitment = set_byte(commitment, 0, get_byte(commitment, 0) # 1)"),
        key(2, "wrapped_key = set_byte(wrapped_key, 60, get_byte(wrapped_key, 60) # 1)"),
        key(3, "state = 'retired'"),
    ] {
        assert_eq!(world.past_triggers(&sql).await, 1, "{sql}");
    }
    let expected: BTreeMap<Uuid, &str> = [
        (1, "not_authentic"),
        (2, "not_authentic"),
        (4, "not_authentic"),
        (5, "key_commitment"),
        (6, "key_missing"),
        (7, "unknown_version"),
        (8, "step_above_maximum"),
        (9, "not_authentic"),
        (10, "key_commitment"),
        (11, "key_does_not_unwrap"),
        (12, "key_missing"),
    ]
    .map(|(index, why)| (ids[index], why))
    .into();
    let run = world.unmask(&ALL).exits(4);
    let mut opened: Vec<_> = run.lines().iter().map(|line| line["device_id"].as_str().unwrap().to_owned()).collect();
    opened.sort();
    assert_eq!(opened, ["device-0", "device-3"]);
    let told = |rows: &Value, why: &str| -> BTreeMap<Uuid, String> {
        let rows = rows.as_array().unwrap().iter();
        rows.map(|row| (row["event_id"].as_str().unwrap().parse().unwrap(), row[why].as_str().unwrap().to_owned()))
            .collect()
    };
    let expected: BTreeMap<Uuid, String> = expected.into_iter().map(|(id, why)| (id, why.to_owned())).collect();
    assert_eq!(told(&run.summary()["failed"], "reason"), expected);
    assert_eq!(told(&world.audited("unmask_page").await[0].1["failed"], "why"), expected);
    assert_eq!(run.summary()["values"], 26, "what does not open is charged as well");

    // A field that was not asked for does not matter.
    let run = world.unmask(&["--event-id", &ids[7].to_string(), "--fields", "ip", "--format", "json"]).done();
    assert_eq!(run.lines()[0]["ip"], "10.0.0.7");
    let args = ["unmask", "--reason", "a test", "--case", "C-1", "--event-id", &ids[1].to_string()];
    let run = world.pii_vault(Who::Officer, &args).finish().exits(4);
    assert!(run.stderr.contains(&format!("{}  ", ids[1])) && run.stderr.contains("not_authentic"), "{}", run.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn kms_sees_the_receipt_and_each_receipt_asks_it_anew() {
    let world = World::vault().await;
    world.set_policy(1_000).await;
    world.send_logins(30).await;
    world.drain(&[]);
    let relay = Relay::before(world.kms_port()).await;
    let url = format!("http://127.0.0.1:{}", relay.port);
    for count in 1..=2 {
        let args = [&["unmask", "--reason", "a test", "--case", "C-1", "--output", "json"], &ALL[..]].concat();
        let run = world.pii_vault_with(Who::Officer, &args, &[("AWS_ENDPOINT_URL_KMS", &url)]).finish().done();
        let sent = relay.sent();
        assert_eq!(sent.matches("TrentService.Decrypt").count(), count, "one key, once a receipt");
        let summary = run.summary();
        let name = format!("app/pv-receipt-{}", summary["receipt"].as_str().unwrap());
        let agents: Vec<_> = sent
            .lines()
            .filter(|line| line.starts_with("user-agent:") || line.starts_with("x-amz-user-agent:"))
            .collect();
        assert!(agents.iter().any(|agent| agent.contains(&name)), "{name}: {agents:?}");
        assert!(!agents.iter().any(|agent| agent.contains("app/pii-vault")), "{agents:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_kms_is_away_nothing_comes_and_it_is_charged_all_the_same() {
    let world = World::vault().await;
    world.set_policy(4).await;
    let ids = world.send([login(1).to_string()]).await;
    world.drain(&[]);
    let id = ids[0].to_string();
    let args =
        ["unmask", "--reason", "a test", "--case", "C-1", "--event-id", &id, "--patience", "1s", "--output", "json"];
    let away = [("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1")];
    let run = world.pii_vault_with(Who::Officer, &args, &away).finish().exits(1);
    assert_eq!(run.stdout, "");
    assert!(
        run.stderr.contains("kms:Decrypt") && run.stderr.contains("0 of 1 rows were written before"),
        "{}",
        run.stderr
    );
    assert_eq!(world.audited("unmask_page").await.len(), 0, "nothing was opened");
    world.unmask(&["--event-id", &id]).done();
    assert_eq!(world.unmask(&["--event-id", &id]).exits(3).json()["refused"], "alone_limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_policy_a_fitting_case_or_a_selector_it_is_refused_with_what_would_help() {
    let world = World::vault().await;
    let ids = world.send([login(1).to_string()]).await;
    world.drain(&[]);
    let id = ids[0].to_string();
    let event = ["--event-id", id.as_str()];
    assert_eq!(world.unmask(&event).exits(3).json()["refused"], "no_policy");
    world.set_policy(1).await;
    let human = |args: &[&str]| {
        let run = world.pii_vault(Who::Officer, &[&["unmask", "--reason", "a test"], args].concat()).finish().exits(3);
        assert_eq!(run.stdout, "");
        run.stderr
    };
    for (args, words) in [
        (["--case", "C-1", "--event-id", &id].as_slice(), "pii-vault access request"),
        (&["--case", "C 1", "--event-id", &id], "the case id has not the form"),
        (&["--case", "C-1", "--since", "2020-01-01"], "nothing says which rows"),
        (&["--case", "C-1"], "nothing says which rows"),
        (&["--case", "C-1", "--since", "2020-01-02", "--until", "2020-01-01"], "of no use"),
    ] {
        let told = human(args);
        assert!(told.contains(words) && told.contains("next: "), "{args:?}: {told}");
    }
    let refusals: Vec<_> = world.audited("unmask").await.into_iter().map(|(refusal, _)| refusal.unwrap()).collect();
    assert_eq!(refusals, ["no_policy", "alone_limit", "case_form", "no_selector", "no_selector", "malformed"]);
    // Who may ask without an answer of use: nobody without the role.
    let args = ["unmask", "--reason", "a test", "--case", "C-1", "--event-id", &id];
    for who in [Who::Ingest, Who::Analyst, Who::Approver, Who::Lookup] {
        world.pii_vault(who, &args).finish().exits(1);
    }
    for args in [["--reason", " "], ["--event-id", "7"], ["--masked-ip", "10.0.0.1"], ["--fields", "user_id"]] {
        let run = world.unmask(&args);
        assert_eq!(run.code(), Some(2), "{run:?}");
    }
}
