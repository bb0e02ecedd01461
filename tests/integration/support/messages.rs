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
