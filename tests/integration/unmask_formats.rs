//! What is written parses back to what was sent, and drives no terminal.

use std::collections::BTreeMap;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{World, login};

/// Device ids such as nobody has: 1 to 256 bytes of anything but NUL.
fn odd_texts(count: usize) -> Vec<String> {
    let mut runner = TestRunner::deterministic();
    let any = proptest::collection::vec(proptest::char::any(), 1..40).prop_map(String::from_iter);
    let nasty = "[\\x01-\\x20\"'\\\\,;=+@\u{7f}-\u{9f}\u{200b}-\u{202e}\r\n\t{}\\[\\]]{1,60}";
    let texts = proptest::prop_oneof![any, nasty];
    let texts = texts.prop_filter("a device id", |text| !text.is_empty() && text.len() <= 256 && !text.contains('\0'));
    (0..count).map(|_| texts.new_tree(&mut runner).unwrap().current()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_and_json_are_exact_and_a_table_drives_no_terminal() {
    let world = World::vault().await;
    world.set_policy(1_000_000).await;
    let texts = odd_texts(300);
    let bodies = texts.iter().enumerate().map(|(number, text)| {
        let mut login = login(number);
        login["device_id"] = json!(text);
        login["user_id"] = json!(text.chars().take(128).collect::<String>());
        login.to_string()
    });
    let ids = world.send(bodies).await;
    assert_eq!(world.drain(&[])["stored"], 300);
    let sent: BTreeMap<Uuid, &String> = ids.into_iter().zip(&texts).collect();
    let unmask =
        |format| world.unmask(&["--since", "2000-01-01", "--until", "2999-01-01", "--format", format]).done().stdout;

    let out = unmask("json");
    assert!(
        !out.chars().any(|character| character.is_control() && character != '\n'),
        "JSON escapes what drives a terminal"
    );
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let read = |line: &Value| {
        (line["event_id"].as_str().unwrap().parse::<Uuid>().unwrap(), line["device_id"].as_str().unwrap().to_owned())
    };
    assert_eq!(lines.iter().map(read).collect::<BTreeMap<_, _>>().len(), 300);
    for line in &lines {
        let (id, device_id) = read(line);
        assert_eq!(
            (&device_id, line["user_id"].as_str().unwrap()),
            (sent[&id], &*sent[&id].chars().take(128).collect::<String>())
        );
    }

    let out = unmask("csv");
    let mut reader = csv::Reader::from_reader(out.as_bytes());
    assert_eq!(reader.headers().unwrap(), vec!["create_date", "event_id", "user_id", "ip", "device_id"]);
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 300);
    for record in &records {
        assert_eq!(&record[4], sent[&record[1].parse::<Uuid>().unwrap()].as_str());
    }

    let out = unmask("table");
    assert_eq!(out.lines().count(), 301, "a line a row");
    assert!(!out.chars().any(|character| character.is_control() && character != '\n'));
    assert!(!out.contains(['\u{202e}', '\u{200b}', '\u{2028}']));
}
