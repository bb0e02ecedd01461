//! Reads the vectors: each of these panics where a field is missing or has another shape.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use time::Date;
use time::macros::format_description;
use uuid::Uuid;

use super::JSON;
use crate::crypto::{DeadLetterBinding, SecretKey, ValueBinding};
use crate::domain::{EventId, Field, KeyId, VaultId};

pub(super) static FILE: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(JSON).unwrap());

pub(super) fn array(name: &str) -> &'static Vec<Value> {
    FILE[name].as_array().unwrap()
}

pub(super) fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
    vector[name].as_str().unwrap()
}

pub(super) fn number(vector: &Value, name: &str) -> u32 {
    vector[name].as_u64().unwrap().try_into().unwrap()
}

pub(super) fn hex(vector: &Value, name: &str) -> Vec<u8> {
    let digits = text(vector, name).as_bytes();
    assert!(digits.len().is_multiple_of(2));
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

pub(super) fn base64(vector: &Value, name: &str) -> Vec<u8> {
    STANDARD.decode(text(vector, name)).unwrap()
}

pub(super) fn uuid(vector: &Value, name: &str) -> Uuid {
    text(vector, name).parse().unwrap()
}

pub(super) fn date(vector: &Value) -> Date {
    Date::parse(text(vector, "create_date"), format_description!("[year]-[month]-[day]")).unwrap()
}

pub(super) fn key(vector: &Value, name: &str) -> SecretKey {
    SecretKey::from_unwrapped(hex(vector, name)).unwrap()
}

pub(super) fn field(vector: &Value) -> Field {
    Field::ALL.into_iter().find(|field| field.name() == text(vector, "field")).unwrap()
}

/// A refused vector names only the column.
pub(super) fn value_binding(vector: &Value) -> ValueBinding<'_> {
    let column = text(vector, "column");
    ValueBinding {
        vault: VaultId(uuid(vector, "vault_id")),
        field: Field::ALL.into_iter().find(|field| field.ciphertext_column() == column).unwrap(),
        create_date: date(vector),
        event: EventId(uuid(vector, "event_id")),
        user_id: text(vector, "user_id"),
        key: KeyId(uuid(vector, "key_id")),
    }
}

pub(super) fn dead_letter_binding(vector: &Value) -> DeadLetterBinding {
    DeadLetterBinding {
        vault: VaultId(uuid(vector, "vault_id")),
        create_date: date(vector),
        message: EventId(uuid(vector, "message_id")),
        key: KeyId(uuid(vector, "key_id")),
    }
}
