use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

/// Made from the form that the KMS Developer Guide shows; not taken from an account.
const DELIVERED: &str = include_str!("../../../../tests/cloudtrail/delivered.json");

fn read(bytes: &[u8]) -> Result<Trail, TrailError> {
    let mut trail = Trail::default();
    trail.add(bytes).map(|()| trail)
}

#[test]
fn what_is_needed_is_read_of_each_form() {
    let trail = read(DELIVERED.as_bytes()).unwrap();
    assert_eq!((trail.entries, trail.unwraps.len()), (5, 4));
    let span = trail.span.unwrap();
    assert_eq!([span.0.to_string(), span.1.to_string()], ["2025-05-20T20:44:00Z", "2025-05-20T20:50:00Z"]);
    let [role, user, denied, other] = trail.unwraps.as_slice() else { panic!() };
    assert_eq!(role.receipt, Some("0195a1b2-0000-4000-8000-000000000001".parse().unwrap()));
    assert_eq!(role.principal.as_deref(), Some("arn:aws:sts::111122223333:assumed-role/pii-vault-unmask/jane"));
    assert_eq!(role.issuer.as_deref(), Some("arn:aws:iam::111122223333:role/pii-vault-unmask"));
    assert_eq!(role.context["purpose"], "data");
    assert_eq!((user.receipt, user.error.as_deref()), (None, None));
    assert_eq!((denied.error.as_deref(), denied.context.len()), (Some("AccessDenied"), 0));
    assert_eq!(other.context["Department"], "Engineering");

    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(DELIVERED.as_bytes()).unwrap();
    let zipped = gzip.finish().unwrap();
    assert_eq!(read(&zipped).unwrap().unwraps, trail.unwraps);

    let records: serde_json::Value = serde_json::from_str(DELIVERED).unwrap();
    let records = records["Records"].as_array().unwrap();
    let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
    assert_eq!(read(lines.as_bytes()).unwrap().unwraps, trail.unwraps);
    let events: Vec<_> =
        records.iter().map(|record| serde_json::json!({"CloudTrailEvent": record.to_string()})).collect();
    let looked_up = serde_json::json!({"Events": events}).to_string();
    assert_eq!(read(looked_up.as_bytes()).unwrap().unwraps, trail.unwraps);
}

#[test]
fn an_entry_that_was_delivered_twice_counts_once() {
    let mut trail = read(DELIVERED.as_bytes()).unwrap();
    trail.add(DELIVERED.as_bytes()).unwrap();
    assert_eq!((trail.entries, trail.unwraps.len()), (5, 4));
}

#[test]
fn what_is_no_entry_is_said_and_not_passed_over() {
    for (text, fault) in [
        ("{", "it is no JSON beyond entry 0"),
        ("{}", "entry 1 is none"),
        ("[]", "entry 1 is none"),
        (r#"{"Records":[{"eventName":"Decrypt"}]}"#, "entry 1 is none"),
        (r#"{"Records":7}"#, "entry 1 is none"),
        (r#"{"eventSource":"kms.amazonaws.com","eventName":"Decrypt","eventTime":"secret"}"#, "entry 1 is none"),
        ("\u{1f}\u{8b}", "it is no JSON"),
    ] {
        let error = read(text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(fault) && !error.contains("secret"), "{text}: {error}");
    }
    assert!(matches!(read(b"\x1f\x8bno gzip").unwrap_err(), TrailError::Read(_)));
    assert_eq!(read(b"").unwrap().entries, 0);
}

#[test]
fn a_receipt_is_named_as_sdks_name_an_application() {
    let id = "0195a1b2-0000-4000-8000-000000000001";
    let named = |agent: &str| named(agent, "receipt").map(|receipt| receipt.to_string());
    let agent = "aws-sdk-rust/1.9 ua/2.1 api/kms/1.129 os/linux lang/rust/1.95 m/E";
    assert_eq!(named(&format!("{agent} app/pv-receipt-{id}")).as_deref(), Some(id));
    assert_eq!(named(&format!("[{agent} app/pv-receipt-{id}]")).as_deref(), Some(id));
    for none in [agent.to_owned(), format!("{agent} app/pv-receipt-"), format!("xapp/pv-receipt-{id}"), String::new()] {
        assert_eq!(named(&none), None, "{none}");
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "[a-z]{0,6}".prop_map(Into::into),
        Just("kms.amazonaws.com".into()),
        Just("Decrypt".into()),
        Just("2025-05-20T20:45:00Z".into()),
    ];
    let name = prop_oneof![
        Just("Records"),
        Just("Events"),
        Just("CloudTrailEvent"),
        Just("eventSource"),
        Just("eventName"),
        Just("eventTime"),
        Just("eventID"),
        Just("userAgent"),
        Just("userIdentity"),
        Just("requestParameters"),
        Just("encryptionContext"),
        Just("arn"),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::hash_map(name.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused(value in json()) {
        let _ = read(value.to_string().as_bytes());
    }

    #[test]
    fn any_bytes_are(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
    }

    /// An entry of KMS with any members beside those that it must have.
    #[test]
    fn any_member_may_be_anything(agent in json(), identity in json(), parameters in json()) {
        let entry = serde_json::json!({"eventSource": "kms.amazonaws.com", "eventName": "Decrypt", "eventTime": "2025-05-20T20:45:00Z",
            "userAgent": agent, "userIdentity": identity, "requestParameters": parameters});
        let _ = read(entry.to_string().as_bytes());
    }
}
