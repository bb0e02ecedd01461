//! Who gets which originals: selectors, fields, dry runs, charges.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Finished, World, login};

/// A vault with a policy and these logins, and the ids of their events.
async fn with_logins(bodies: &[Value]) -> (World, Vec<Uuid>) {
    let world = World::vault().await;
    world.set_policy(1000).await;
    let ids = world.send(bodies.iter().map(Value::to_string)).await;
    world.drain(&[]);
    (world, ids)
}

fn events(run: &Finished) -> BTreeSet<Uuid> {
    run.lines().iter().map(|line| line["event_id"].as_str().unwrap().parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn originals_come_byte_for_byte_as_they_were_sent() {
    let mut bodies: Vec<_> = (0..40).map(login).collect();
    bodies[0]["ip"] = "::ffff:10.0.0.0".into();
    bodies[1]["device_id"] = " \u{1b}[2J\"\\'=1+1\r\n\t\u{202e}ä漢🐤,\u{feff}".into();
    bodies[2]["device_id"] = "x".repeat(256).into();
    bodies[3]["ip"] = "2001:DB8:0:0::1".into();
    let (world, ids) = with_logins(&bodies).await;
    let today = world.sql.query_one("SELECT max(create_date)::text FROM pii_vault.login_events", &[]).await.unwrap();
    let today: String = today.get(0);
    let run = world.unmask(&["--since", &today, "--until", &today, "--format", "json"]).done();
    let lines = run.lines();
    let expected: BTreeMap<_, _> = ids.iter().zip(&bodies).collect();
    assert_eq!(lines.len(), 40);
    for line in &lines {
        let sent = expected[&line["event_id"].as_str().unwrap().parse::<Uuid>().unwrap()];
        assert_eq!((&line["ip"], &line["device_id"]), (&sent["ip"], &sent["device_id"]));
        assert_eq!((&line["user_id"], &line["create_date"]), (&sent["user_id"], &json!(today)));
        let names: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names.len(), 5, "{names:?}");
    }
    assert!(lines.is_sorted_by_key(|line| line["event_id"].as_str().unwrap().to_owned()), "in the list's order");

    let summary = run.summary();
    let counts = ["rows", "values", "opened", "released", "did_not_open"].map(|key| summary[key].as_u64().unwrap());
    assert_eq!((counts, &summary["grant"]), ([40, 80, 40, 40, 0], &Value::Null), "{summary}");
    let logged = world.sql.query_one(
        "SELECT subject::text, seq, reason, case_id, actor FROM pii_vault.audit_log WHERE action = 'unmask'",
        &[],
    );
    let logged = logged.await.unwrap();
    assert_eq!(summary["receipt"], logged.get::<_, String>(0));
    assert_eq!(summary["audit_seq"], logged.get::<_, i64>(1));
    assert_eq!((logged.get::<_, &str>(2), logged.get::<_, &str>(3)), ("a test", "C-1"));
    assert_eq!(logged.get::<_, String>(4), format!("officer_{}", world.id));
    let pages = world.audited("unmask_page").await;
    assert_eq!(pages, [(None, json!({"first": 1, "last": 40, "opened": 40, "failed": []}))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_selector_alone_and_all_together() {
    let bodies: Vec<_> = (0..300).map(login).collect();
    let (world, ids) = with_logins(&bodies).await;
    let opened = world.opened_events().await;
    let all = |matches: &dyn Fn(usize) -> bool| -> BTreeSet<Uuid> {
        ids.iter().enumerate().filter(|(number, _)| matches(*number)).map(|(_, id)| *id).collect()
    };
    let unmask = |args: &[&str]| events(&world.unmask(&[&["--format", "json"], args].concat()).done());
    let (one, two) = (ids[1].to_string(), ids[102].to_string());
    assert_eq!(unmask(&["--event-id", &one]), all(&|number| number == 1));
    assert_eq!(unmask(&["--event-id", &one, "--event-id", &two]), all(&|number| number == 1 || number == 102));
    assert_eq!(unmask(&["--user-id", "user-7", "--user-id=nobody"]), all(&|number| number == 7));
    // `10.0.0.1` is of numbers 1 and beyond 250 none; each device is of three.
    let ip = &opened[&ids[1]].ip_token;
    assert_eq!(unmask(&["--masked-ip", ip]), all(&|number| number == 1));
    let device = &opened[&ids[1]].device_id_token;
    assert_eq!(unmask(&["--masked-device-id", device]), all(&|number| number % 100 == 1));
    let other = &opened[&ids[2]].device_id_token;
    let either = ["--masked-device-id", device, "--masked-device-id", other];
    assert_eq!(unmask(&either), all(&|number| matches!(number % 100, 1 | 2)));
    assert_eq!(
        unmask(&[&either, ["--user-id", "user-102", "--event-id", &two].as_slice()].concat()),
        all(&|number| number == 102)
    );
    assert_eq!(unmask(&[&either, ["--user-id", "user-102"].as_slice()].concat()), all(&|number| number == 102));
    assert_eq!(unmask(&[&either, ["--event-id", &two].as_slice()].concat()), all(&|number| number == 102));
    assert_eq!(unmask(&["--masked-ip", ip, "--masked-device-id", other]), BTreeSet::new());
    assert_eq!(unmask(&["--masked-ip", ip, "--user-id", "user-2"]), BTreeSet::new());
    assert_eq!(unmask(&["--user-id", "user-7", "--since", "2999-01-01"]), BTreeSet::new());
    assert_eq!(unmask(&["--user-id", "user-7", "--until", "2000-01-01"]), BTreeSet::new());
    assert_eq!(unmask(&["--event-id", &one, "--until", "2000-01-01"]), BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_was_not_asked_for_is_neither_charged_nor_shown() {
    let (world, ids) = with_logins(&[login(1)]).await;
    let id = ids[0].to_string();
    for (fields, present, absent) in [("ip", "10.0.0.1", "device-1"), ("device_id", "device-1", "10.0.0.1")] {
        for format in ["json", "csv", "table"] {
            let run = world.unmask(&["--event-id", &id, "--fields", fields, "--format", format]).done();
            assert!(run.stdout.contains(present) && !run.stdout.contains(absent), "{}", run.stdout);
            assert_eq!(run.summary()["values"], 1);
        }
    }
    // Order and repetition do not matter.
    let run = world.unmask(&["--event-id", &id, "--fields", "device_id,ip,ip", "--format", "csv"]).done();
    assert_eq!(run.stdout.lines().next(), Some("create_date,event_id,user_id,ip,device_id"));
    assert!(run.stdout.ends_with(",user-1,10.0.0.1,device-1\n"), "{}", run.stdout);
    assert_eq!(run.summary()["values"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_is_recorded_opens_nothing_and_costs_nothing() {
    let (world, ids) = with_logins(&[login(1), login(2)]).await;
    world.set_policy(2).await;
    let id = ids[0].to_string();
    for _ in 0..2 {
        let told = world.unmask(&["--event-id", &id, "--dry-run"]).done().json();
        assert_eq!((&told["rows"], &told["values"], &told["dry_run"]), (&json!(1), &json!(2), &json!(true)), "{told}");
        assert_eq!((&told["opened"], &told["grant"]), (&json!(0), &Value::Null));
    }
    let refused = world.unmask(&["--user-id", "user-1", "--user-id", "user-2", "--dry-run"]).exits(3).json();
    assert_eq!(refused["refused"], "alone_limit");
    let dry: Vec<_> = world.audited("unmask_dry_run").await.into_iter().map(|(refusal, _)| refusal).collect();
    assert_eq!(dry, [None, None, Some("alone_limit".to_owned())]);
    assert_eq!(world.count("pii_vault.receipt_rows").await + world.audited("unmask_page").await.len() as i64, 0);
    // What is refused costs nothing either.
    world.unmask(&["--user-id", "user-1", "--user-id", "user-2"]).exits(3);
    world.unmask(&["--event-id", &id]).done();
    let grant = world.grant("ip,device_id", "C-1", 10).await;
    assert_eq!(world.unmask(&["--event-id", &id, "--dry-run"]).done().json()["grant"], grant.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_charged_before_what_may_be_opened_alone_and_a_named_one_alone() {
    let (world, ids) = with_logins(&[login(1), login(2)]).await;
    world.set_policy(2).await;
    let (one, two) = (ids[0].to_string(), ids[1].to_string());
    let grant = world.grant("ip,device_id", "C-1", 2).await.to_string();
    assert_eq!(world.unmask(&["--event-id", &one]).done().summary()["grant"], grant);
    assert_eq!(world.unmask(&["--event-id", &two]).done().summary()["grant"], Value::Null);
    // Alone, there would be enough.
    world.set_policy(100).await;
    assert_eq!(world.unmask(&["--event-id", &two, "--grant", &grant]).exits(3).json()["refused"], "used_up");
    let unknown = Uuid::new_v4().to_string();
    assert_eq!(world.unmask(&["--event-id", &two, "--grant", &unknown]).exits(3).json()["refused"], "unknown_grant");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_selected_is_nothing_opened_and_still_a_whole_document() {
    let (world, _) = with_logins(&[]).await;
    let nobody = ["--user-id", "nobody", "--format"];
    assert_eq!(world.unmask(&[&nobody[..], &["json"]].concat()).done().stdout, "");
    let header = "create_date,event_id,user_id,ip,device_id\n";
    assert_eq!(world.unmask(&[&nobody[..], &["csv"]].concat()).done().stdout, header);
    let run = world.unmask(&[&nobody[..], &["table"]].concat()).done();
    assert_eq!((run.stdout.split_whitespace().count(), &run.summary()["rows"]), (5, &json!(0)));
}
