use time::Date;
use time::macros::date;

use super::*;
use crate::crypto::{Ratchet, SecretKey, Tokenizer, ValueBinding, seal_value};
use crate::db::login_events::EventTokens;
use crate::domain::{BoundedText, ClientIp, DeviceId, EventId, Field, VaultId};

fn event(number: u128, day: Date, token_keys: &[KeyId]) -> NewLoginEvent {
    let root = SecretKey::from_unwrapped(vec![1; 32]).unwrap();
    let (tokenizer, sealing_key) = (Tokenizer::new(&root), Ratchet::new(root).sealing_key());
    let (event, key) = (EventId(uuid::Uuid::from_u128(number)), KeyId(uuid::Uuid::nil()));
    let vault = VaultId(uuid::Uuid::nil());
    let seal = |field| {
        let binding = ValueBinding { vault, field, create_date: day, event, user_id: "u", key };
        seal_value(&sealing_key, &binding, "::").unwrap()
    };
    let tokens = |key: &KeyId| EventTokens {
        ip: tokenizer.ip(&ClientIp::parse("::".to_owned()).unwrap()),
        device_id: tokenizer.device_id(&DeviceId::parse("d".to_owned()).unwrap()),
        key: *key,
    };
    NewLoginEvent {
        create_date: day,
        event_id: event,
        user_id: BoundedText::parse("u".to_owned()).unwrap(),
        device_type: BoundedText::parse("ios".to_owned()).unwrap(),
        locale: None,
        app_version: BoundedText::parse("1".to_owned()).unwrap(),
        ip: seal(Field::Ip),
        device_id: seal(Field::DeviceId),
        data_key: key,
        slot_a: token_keys.first().map(tokens),
        slot_b: token_keys.get(1).map(tokens),
    }
}

fn batch(events: Vec<NewLoginEvent>) -> Batch<()> {
    Batch { events, letters: vec![], receipts: vec![], rooms: vec![], bytes: 0 }
}

#[test]
fn a_batch_is_sorted_by_primary_key() {
    let (one_day, next_day) = (date!(2025 - 12 - 31), date!(2026 - 01 - 01));
    let mut batch = batch(vec![event(1, next_day, &[]), event(3, one_day, &[]), event(2, one_day, &[])]);
    batch.sort();
    let order: Vec<_> = batch.events.iter().map(|event| event.event_id.0.as_u128()).collect();
    assert_eq!(order, [2, 3, 1]);
}

#[test]
fn a_batch_from_before_and_after_a_change_of_token_keys_has_those_that_all_have() {
    let (day, one, two) = (date!(2026 - 01 - 01), KeyId::random(), KeyId::random());
    assert_eq!(batch(vec![]).token_keys(), Some(vec![]));
    for (first, second, common) in [
        (&[one, two][..], &[one, two][..], Some(vec![one, two])),
        (&[one, two], &[one], Some(vec![one])),
        (&[one], &[one, two], Some(vec![one])),
        (&[one], &[two], None),
    ] {
        let mixed = batch(vec![event(1, day, first), event(2, day, second)]);
        assert_eq!(mixed.token_keys(), common);
    }
}

#[test]
fn tokens_of_other_keys_go_and_no_others() {
    let (day, one, two) = (date!(2026 - 01 - 01), KeyId::random(), KeyId::random());
    let mut batch = batch(vec![event(1, day, &[one, two]), event(2, day, &[one])]);
    batch.keep_token_keys(&[one]);
    let left: Vec<_> =
        batch.events.iter().map(|event| event.slots().map(|tokens| tokens.key).collect::<Vec<_>>()).collect();
    assert_eq!(left, [vec![one], vec![one]]);
}
