use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};

use crate::support::{Who, World, assert_adds_up, login, soak};

fn with(key: &str, value: Value) -> String {
    let mut login = login(7);
    login[key] = value;
    login.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_messages_become_dead_letters_and_hurt_no_other() {
    let world = World::vault().await;
    let login_text = login(7).to_string();
    let twice = login_text.replacen('{', "{\"ip\":\"10.0.0.1\",", 1);
    let without_locale = {
        let mut login = login(7);
        login.as_object_mut().unwrap().remove("locale");
        login.to_string()
    };
    let bad: Vec<(String, &str, Option<&str>)> = vec![
        ("{\"user_id\": \"u\"".to_owned(), "invalid_json", None),
        ("plain text".to_owned(), "invalid_json", None),
        (json!(["u", "1", "ios", "1.2.3.4", null, "d"]).to_string(), "not_an_object", None),
        ("42".to_owned(), "not_an_object", None),
        (twice, "duplicate_key", None),
        (
            with("extra", serde_json::from_str(&format!("{}{}", "[".repeat(65), "]".repeat(65))).unwrap()),
            "too_deep",
            None,
        ),
        (json!({"foo": "oops", "bar": "123"}).to_string(), "missing_field", Some("user_id")),
        (without_locale, "missing_field", Some("locale")),
        (with("device_id", Value::Null), "null_field", Some("device_id")),
        (with("user_id", json!(17)), "wrong_type", Some("user_id")),
        (with("ip", json!(["10.0.0.1"])), "wrong_type", Some("ip")),
        (login_text.replace("DE", "\\ud800"), "lone_surrogate", Some("locale")),
        (with("app_version", json!("1\u{0}")), "nul_character", Some("app_version")),
        (with("device_type", json!("x".repeat(33))), "too_long", Some("device_type")),
        (with("user_id", json!(format!("{} ", "x".repeat(128)))), "too_long", Some("user_id")),
        (with("device_id", json!("")), "empty", Some("device_id")),
        (with("ip", json!("10.0.0.256")), "invalid_ip", Some("ip")),
        (with("ip", json!("fe80::1%eth0")), "invalid_ip", Some("ip")),
    ];
    // A good one after each bad one, in the same batch.
    let bodies = bad.iter().enumerate().flat_map(|(index, (body, ..))| [body.clone(), login(index).to_string()]);
    let ids = world.send(bodies).await;
    let summary = world.drain(&[]);
    assert_adds_up(&summary);
    assert_eq!(summary["stored"], bad.len());
    assert_eq!(summary["deleted"], bad.len() * 2);

    let letters = world.opened_dead_letters().await;
    assert_eq!(letters.len(), bad.len());
    let mut reasons = BTreeMap::<&str, u64>::new();
    for (pair, (body, reason, member)) in ids.chunks(2).zip(&bad) {
        let letter = &letters[&pair[0]];
        assert_eq!((letter.reason.as_str(), letter.member.as_deref()), (*reason, *member), "{body}");
        assert_eq!(letter.body, *body, "sealed as it came");
        *reasons.entry(reason).or_default() += 1;
    }
    assert_eq!(summary["dead_letters"], json!(reasons));
    assert_eq!(world.opened_events().await.len(), bad.len());
    assert_eq!(world.queue_depth().await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_stay_visible_through_the_analysts_view() {
    let world = World::vault().await;
    let ips = ["198.51.100.7", "::ffff:198.51.100.7", "198.51.100.8", "2001:db8::1", "2001:DB8:0:0::1"];
    let ids = world
        .send(ips.iter().enumerate().map(|(index, ip)| {
            let mut login = login(index);
            login["ip"] = json!(ip);
            // The same text in both fields must not give the same token.
            login["device_id"] = json!(if index == 0 { ip } else { "device" });
            login.to_string()
        }))
        .await;
    world.drain(&[]);

    let events = world.opened_events().await;
    let token = |index: usize| events[&ids[index]].ip_token.as_str();
    assert_eq!(token(0), token(1));
    assert_eq!(token(3), token(4));
    assert_eq!(BTreeSet::from([token(0), token(2), token(3)]).len(), 3);
    assert_ne!(token(0), events[&ids[0]].device_id_token);
    for (id, ip) in ids.iter().zip(ips) {
        assert_eq!(events[id].ip, ip, "the original, byte for byte");
    }

    let analyst = world.connect(Who::Analyst).await;
    let rows = analyst
        .query(
            "SELECT masked_ip::text, count(*), array_agg(event_id) FROM user_logins GROUP BY masked_ip HAVING count(*) > 1",
            &[],
        )
        .await
        .unwrap();
    let groups: HashMap<String, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(groups, HashMap::from([(token(0).to_owned(), 2), (token(3).to_owned(), 2)]));
    let columns = analyst.prepare("SELECT * FROM user_logins").await.unwrap();
    let columns: Vec<_> = columns.columns().iter().map(|column| column.name()).collect();
    assert_eq!(
        columns,
        ["user_id", "device_type", "masked_ip", "masked_device_id", "locale", "app_version", "create_date", "event_id"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_parses_is_stored_unchanged() {
    let world = World::vault().await;
    let texts = [
        "",
        " ",
        "trailing ",
        "\t\n\r",
        "é",
        "日本語",
        "\u{1F469}\u{200D}\u{1F4BB}",
        "'; DROP TABLE x; --",
        "\\",
        "\"",
        "\u{7f}",
        "\u{1}",
        "\u{feff}",
        "\u{202e}rtl",
        "{\"a\":1}",
        "NULL",
        "\\N",
        "%s",
        "𝕏",
        "e\u{301}",
    ];
    let mut logins = Vec::new();
    for text in texts {
        let user = format!("u{text}");
        logins.push(json!({
            "user_id": user, "app_version": text, "device_type": text, "ip": "::", "locale": text,
            "device_id": format!("d{text}"), "unknown": {"nested": [text]},
        }));
    }
    for (key, length) in [("user_id", 128), ("app_version", 32), ("device_type", 32), ("locale", 32)] {
        let mut login = login(1);
        login[key] = json!("𝕏".repeat(length));
        logins.push(login);
    }
    let mut long = login(1);
    long["device_id"] = json!("é".repeat(128));
    logins.push(long);

    let ids = world.send(logins.iter().map(Value::to_string)).await;
    assert_eq!(world.drain(&[])["stored"], logins.len());
    let events = world.opened_events().await;
    for (id, login) in ids.iter().zip(&logins) {
        let event = &events[id];
        assert_eq!(login["user_id"], event.user_id.as_str());
        assert_eq!(login["app_version"], event.app_version.as_str());
        assert_eq!(login["device_type"], event.device_type.as_str());
        assert_eq!(login["locale"].as_str(), event.locale.as_deref());
        assert_eq!(login["device_id"], event.device_id.as_str());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_has_its_partition_before_its_first_row() {
    let world = World::vault().await;
    world.send([login(1).to_string()]).await;
    world.drain(&[]);
    let row = world
        .sql
        .query_one(
            "SELECT tableoid::regclass::text, 'pii_vault.login_events_' || to_char(create_date, 'YYYY_MM'), \
             create_date = (now() AT TIME ZONE 'UTC')::date FROM pii_vault.login_events",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(row.get::<_, String>(0), row.get::<_, String>(1));
    assert!(row.get::<_, bool>(2), "the day is the UTC day of SentTimestamp");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_drain_one_queue() {
    let world = World::vault().await;
    let count = if soak() { 20_000 } else { 1_500 };
    let ids = world.send((0..count).map(|number| login(number).to_string())).await;
    let runs: Vec<_> = (0..3).map(|_| world.start_drain(&["--receivers", "4"])).collect();
    let summaries: Vec<_> = runs.into_iter().map(|run| run.finish().done().json()).collect();
    let stored: u64 = summaries.iter().map(|summary| summary["stored"].as_u64().unwrap()).sum();
    assert_eq!(stored, count as u64, "{summaries:?}");
    let events = world.opened_events().await;
    assert_eq!(events.keys().collect::<BTreeSet<_>>(), ids.iter().collect());
    for summary in &summaries {
        assert_adds_up(summary);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_careful_try_takes_no_more_than_it_says() {
    let world = World::vault().await;
    world.send((0..60).map(|number| login(number).to_string())).await;
    let some =
        world.pii_vault(Who::Ingest, &["etl", "run", "--max-messages", "37", "--wait", "1s", "--output", "json"]);
    assert_eq!(some.finish().done().json()["stored"], 37);
    assert_eq!(world.queue_depth().await, (23, 0), "the rest was not even received");
    assert_eq!(world.drain(&[])["stored"], 23);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_body_that_sqs_takes_fits_a_dead_letter() {
    let world = World::vault().await;
    let body = "x".repeat(1 << 20);
    let ids = world.send([body.clone()]).await;
    assert_eq!(world.drain(&[])["dead_letters"], json!({"invalid_json": 1}));
    assert_eq!(world.opened_dead_letters().await[&ids[0]].body, body);
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_structured_and_hold_ids_and_counts_only() {
    let world = World::vault().await;
    let mut canary = login(1);
    canary["ip"] = json!("203.0.113.250");
    canary["device_id"] = json!("canary-device");
    canary["user_id"] = json!("canary-user");
    world.send([canary.to_string(), "{\"canary-body".to_owned()]).await;
    let args = ["--log-format", "json", "etl", "run", "--drain", "--wait", "1s"];
    let finished = world.pii_vault_with(Who::Ingest, &args, &[("RUST_LOG", "trace")]).finish().done();
    for secret in ["203.0.113.250", "canary"] {
        assert!(!finished.stderr.contains(secret) && !finished.stdout.contains(secret), "{secret} leaked");
    }
    let events: Vec<Value> = finished.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(events.iter().any(|event| event["message"] == "committed" && event["events"] == 1), "{}", finished.stderr);
}
