//! Reads a body as one JSON object, strictly, without interpreting its values.
//!
//! serde's own error texts quote the input, so none leaves this module: each failure becomes a [`Reason`].

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Member, Reason};

/// How deep an extra member may be nested.
const MAX_DEPTH: usize = 64;

/// The raw JSON text of each known member that is present. Extra members are checked and dropped.
#[derive(Default)]
pub(super) struct JsonObject<'a> {
    user_id: Option<&'a RawValue>,
    app_version: Option<&'a RawValue>,
    device_type: Option<&'a RawValue>,
    ip: Option<&'a RawValue>,
    locale: Option<&'a RawValue>,
    device_id: Option<&'a RawValue>,
    duplicate_key: bool,
    too_deep: bool,
}

impl<'a> JsonObject<'a> {
    pub(super) fn read(body: &'a str) -> Result<Self, Reason> {
        let object: Self = serde_json::from_str(body).map_err(|error| {
            // The reader stops where an object cannot be; whether the body is JSON at all is a question of its own.
            // `IgnoredAny` reads without recursion, so depth costs no stack, and does not decode surrogates.
            match serde_json::from_str::<IgnoredAny>(body) {
                Err(_) => Reason::InvalidJson,
                Ok(_) if error.is_data() => Reason::NotAnObject,
                Ok(_) => Reason::LoneSurrogate,
            }
        })?;
        if object.duplicate_key {
            return Err(Reason::DuplicateKey);
        }
        if object.too_deep {
            return Err(Reason::TooDeep);
        }
        Ok(object)
    }

    /// The member's string, or `None` where it is null.
    pub(super) fn text(&self, member: Member) -> Result<Option<String>, Reason> {
        let raw = self.member(member).ok_or(Reason::MissingField)?.get();
        match raw.as_bytes().first() {
            Some(b'n') => Ok(None),
            // The reader has seen that it is a JSON string; what is left to fail is a lone surrogate.
            Some(b'"') => serde_json::from_str(raw).map(Some).map_err(|_| Reason::LoneSurrogate),
            _ => Err(Reason::WrongType),
        }
    }

    fn member(&self, member: Member) -> Option<&'a RawValue> {
        match member {
            Member::UserId => self.user_id,
            Member::AppVersion => self.app_version,
            Member::DeviceType => self.device_type,
            Member::Ip => self.ip,
            Member::Locale => self.locale,
            Member::DeviceId => self.device_id,
        }
    }

    fn slot(&mut self, key: &str) -> Option<&mut Option<&'a RawValue>> {
        match Member::ALL.into_iter().find(|member| member.key() == key)? {
            Member::UserId => Some(&mut self.user_id),
            Member::AppVersion => Some(&mut self.app_version),
            Member::DeviceType => Some(&mut self.device_type),
            Member::Ip => Some(&mut self.ip),
            Member::Locale => Some(&mut self.locale),
            Member::DeviceId => Some(&mut self.device_id),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for JsonObject<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = JsonObject<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut object = JsonObject::default();
        let mut extra_keys = HashSet::new();
        while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
            if let Some(slot) = object.slot(&key) {
                object.duplicate_key |= slot.replace(value).is_some();
            } else {
                object.too_deep |= depth(value.get()) > MAX_DEPTH;
                object.duplicate_key |= !extra_keys.insert(key);
            }
        }
        Ok(object)
    }
}

/// How many arrays and objects of a valid JSON text stand in each other.
fn depth(json: &str) -> usize {
    let (mut now, mut deepest) = (0_usize, 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                now += 1;
                deepest = deepest.max(now);
            }
            b']' | b'}' => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn brackets_in_strings_do_not_nest() {
        assert_eq!(depth(r#"{"a[[[":"]]\"[[","b":[[1]]}"#), 3);
        assert_eq!(depth("1"), 0);
    }

    #[test]
    fn depth_is_bounded_and_costs_no_stack() {
        let nested = |levels: usize| format!(r#"{{"x":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        assert!(JsonObject::read(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(JsonObject::read(&nested(MAX_DEPTH + 1)).err(), Some(Reason::TooDeep));
        assert_eq!(JsonObject::read(&nested(300_000)).err(), Some(Reason::TooDeep));
        assert_eq!(JsonObject::read(&"[".repeat(300_000)).err(), Some(Reason::InvalidJson));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(body in ".*") {
            let accepted = JsonObject::read(&body).is_ok();
            let is_object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&body).is_ok();
            prop_assert!(is_object || !accepted);
        }
    }
}
