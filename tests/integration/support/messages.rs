use serde_json::{Value, json};

/// A login: `number` chooses user and addresses, so that some of them repeat.
pub(crate) fn login(number: usize) -> Value {
    json!({
        "user_id": format!("user-{number}"),
        "app_version": "2.3.0",
        "device_type": if number.is_multiple_of(2) { "android" } else { "ios" },
        "ip": format!("10.0.{}.{}", number / 250 % 250, number % 250),
        "locale": if number.is_multiple_of(3) { Value::Null } else { json!("DE") },
        "device_id": format!("device-{}", number % 100),
    })
}

/// `received` of a summary is the sum of what became of the messages.
#[track_caller]
pub(crate) fn assert_adds_up(summary: &Value) {
    let count = |key: &str| summary[key].as_u64().unwrap();
    let letters: u64 = summary["dead_letters"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(count("received"), count("stored") + count("already_stored") + letters + count("left_in_queue"));
}
