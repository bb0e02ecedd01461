use super::json_object::JsonObject;
use super::{BoundedText, ClientIp, DeviceId, Member, Reason, Refusal};

/// A login as the queue carries it.
#[derive(Debug)]
pub struct LoginEvent {
    /// Who logged in: 1 to 128 characters.
    pub user_id: BoundedText<128>,
    /// The app's version, any text: real messages have `2.0`, `2.00` and `0.2.6`.
    pub app_version: BoundedText<32>,
    /// `android`, `ios`, or whatever the app says.
    pub device_type: BoundedText<32>,
    /// The client's address: personal data.
    pub ip: ClientIp,
    /// The locale, null in nearly a third of real messages.
    pub locale: Option<BoundedText<32>>,
    /// The device: personal data.
    pub device_id: DeviceId,
}

impl LoginEvent {
    /// Parses a message body. Members beyond the six are allowed and dropped.
    ///
    /// # Errors
    /// A [`Refusal`] that names the first thing wrong and, where one is to blame, the member; never its content.
    pub fn parse(body: &str) -> Result<Self, Refusal> {
        let object = JsonObject::read(body)?;
        Ok(Self {
            user_id: required(&object, Member::UserId, |text| {
                if text.is_empty() { Err(Reason::Empty) } else { BoundedText::parse(text) }
            })?,
            app_version: required(&object, Member::AppVersion, BoundedText::parse)?,
            device_type: required(&object, Member::DeviceType, BoundedText::parse)?,
            ip: required(&object, Member::Ip, ClientIp::parse)?,
            locale: nullable(&object, Member::Locale, BoundedText::parse)?,
            device_id: required(&object, Member::DeviceId, DeviceId::parse)?,
        })
    }
}

fn nullable<T>(
    object: &JsonObject<'_>,
    member: Member,
    parse: impl FnOnce(String) -> Result<T, Reason>,
) -> Result<Option<T>, Refusal> {
    object
        .text(member)
        .and_then(|text| text.map(parse).transpose())
        .map_err(|reason| Refusal { reason, member: Some(member) })
}

fn required<T>(
    object: &JsonObject<'_>,
    member: Member,
    parse: impl FnOnce(String) -> Result<T, Reason>,
) -> Result<T, Refusal> {
    nullable(object, member, parse)?.ok_or(Refusal { reason: Reason::NullField, member: Some(member) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn login() -> Value {
        json!({
            "user_id": "u-1", "app_version": "2.00", "device_type": "ios",
            "ip": "203.0.113.7", "locale": null, "device_id": "593-47-5928",
        })
    }

    fn with(key: &str, value: Value) -> String {
        let mut login = login();
        if let Some(members) = login.as_object_mut() {
            members.insert(key.to_owned(), value);
        }
        login.to_string()
    }

    fn refusal(body: &str) -> (Reason, Option<&'static str>) {
        match LoginEvent::parse(body) {
            Ok(_) => panic!("accepted: {body}"),
            Err(refusal) => (refusal.reason, refusal.member.map(Member::key)),
        }
    }

    #[test]
    fn what_is_real_is_accepted() {
        let event = LoginEvent::parse(&login().to_string()).unwrap();
        assert_eq!(event.app_version.as_str(), "2.00");
        assert!(event.locale.is_none());
        assert_eq!(event.ip.text(), "203.0.113.7");
        assert_eq!(event.device_id.text(), "593-47-5928");
        assert!(LoginEvent::parse(&with("extra", json!({"a": [1, {"b": null}]}))).is_ok());
        assert!(LoginEvent::parse(&with("app_version", json!(""))).is_ok());
        assert!(LoginEvent::parse(&format!(" \n{} ", login())).is_ok());
    }

    #[test]
    fn escapes_are_decoded() {
        let event = LoginEvent::parse(&login().to_string().replace("593-47-5928", r"\u0041\ud83d\ude00\n")).unwrap();
        assert_eq!(event.device_id.text(), "A😀\n");
    }

    #[test]
    fn bodies_that_are_no_object_are_refused() {
        for body in ["", "{", "not json", "{\"a\":1,}", "{\"a\":1} x", "[1,", "{\"a\":\"\u{1}\"}", "{\"ip\":\"\\x\"}"] {
            assert_eq!(refusal(body), (Reason::InvalidJson, None), "{body}");
        }
        for body in ["[]", "null", "\"text\"", "7", r#"["u","1","ios","1.2.3.4",null,"d"]"#] {
            assert_eq!(refusal(body), (Reason::NotAnObject, None), "{body}");
        }
    }

    #[test]
    fn each_missing_member_is_named() {
        for member in Member::ALL {
            let mut login = login();
            login.as_object_mut().unwrap().remove(member.key());
            assert_eq!(refusal(&login.to_string()), (Reason::MissingField, Some(member.key())));
        }
        assert_eq!(refusal(r#"{"foo": "oops_wrong_msg_type", "bar": "123"}"#), (Reason::MissingField, Some("user_id")));
    }

    #[test]
    fn null_is_allowed_for_the_locale_alone() {
        for member in Member::ALL {
            let body = with(member.key(), Value::Null);
            if member == Member::Locale {
                assert!(LoginEvent::parse(&body).is_ok());
            } else {
                assert_eq!(refusal(&body), (Reason::NullField, Some(member.key())));
            }
        }
    }

    #[test]
    fn each_wrong_type_is_named() {
        for member in Member::ALL {
            for value in [json!(1), json!(true), json!(["x"]), json!({"x": "y"}), json!(1.5e300)] {
                assert_eq!(refusal(&with(member.key(), value)), (Reason::WrongType, Some(member.key())));
            }
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_however_it_is_spelled() {
        let login = login().to_string();
        for extra in [r#""ip":"203.0.113.7"}"#, r#""\u0069p":"198.51.100.1"}"#, r#""x":1,"x":1}"#] {
            let body = format!("{},{extra}", login.trim_end_matches('}'));
            assert_eq!(refusal(&body), (Reason::DuplicateKey, None), "{body}");
        }
    }

    #[test]
    fn lone_surrogates_and_nul_are_refused() {
        let login = login().to_string();
        for escape in [r"\ud800", r"\udc00", r"\ud800x", r"\ud800\u0041"] {
            let body = login.replace("593-47-5928", escape);
            assert_eq!(refusal(&body), (Reason::LoneSurrogate, Some("device_id")), "{body}");
        }
        let in_key = login.replace("\"ip\"", r#""\ud800":1,"ip""#);
        assert_eq!(refusal(&in_key), (Reason::LoneSurrogate, None));
        for key in ["user_id", "app_version", "device_type", "locale", "device_id"] {
            assert_eq!(refusal(&with(key, json!("a\0b"))), (Reason::NulCharacter, Some(key)));
        }
    }

    #[test]
    fn limits_are_those_of_the_columns() {
        for (key, limit) in [("user_id", 128), ("app_version", 32), ("device_type", 32), ("locale", 32)] {
            assert!(LoginEvent::parse(&with(key, json!("é".repeat(limit)))).is_ok());
            assert_eq!(refusal(&with(key, json!("x".repeat(limit + 1)))), (Reason::TooLong, Some(key)));
            let spaces = format!("{}{}", "x".repeat(limit), " ");
            assert_eq!(refusal(&with(key, json!(spaces))), (Reason::TooLong, Some(key)));
        }
        assert_eq!(refusal(&with("device_id", json!("x".repeat(257)))), (Reason::TooLong, Some("device_id")));
        assert_eq!(refusal(&with("device_id", json!(""))), (Reason::Empty, Some("device_id")));
        assert_eq!(refusal(&with("user_id", json!(""))), (Reason::Empty, Some("user_id")));
        assert_eq!(refusal(&with("ip", json!("1.2.3.400"))), (Reason::InvalidIp, Some("ip")));
    }

    #[test]
    fn debug_shows_no_content() {
        let shown = format!("{:?}", LoginEvent::parse(&login().to_string()).unwrap());
        for secret in ["203.0.113.7", "593-47-5928", "u-1"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(body in "\\PC*|[\\[\\]{}\",:\\\\a-z0-9 ]{0,80}") {
            let _ = LoginEvent::parse(&body);
        }

        #[test]
        fn text_survives_unchanged(user_id in "[^\0]{1,128}", device_id in "[^\0]{1,60}", version in "[^\0]{0,32}") {
            let body = json!({
                "user_id": user_id, "app_version": version, "device_type": "ios",
                "ip": "::1", "locale": "DE", "device_id": device_id,
            }).to_string();
            let event = LoginEvent::parse(&body).map_err(|refusal| TestCaseError::fail(format!("{refusal:?}")))?;
            prop_assert_eq!(event.user_id.as_str(), user_id);
            prop_assert_eq!(event.app_version.as_str(), version);
            prop_assert_eq!(event.device_id.text(), device_id);
        }
    }
}
