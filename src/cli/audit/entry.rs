//! An entry of the log, as JSON.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::domain::audit::{Decision, Entry};

/// All of it. Times are RFC 3339, the hash is hex, `details` is as it was recorded.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    seq: i64,
    at: String,
    action: &'a str,
    actor: &'a str,
    role: &'a str,
    client_address: Option<&'a str>,
    claimed_host: Option<&'a str>,
    claimed_version: Option<&'a str>,
    decision: Option<&'static str>,
    refusal: Option<&'a str>,
    reason: Option<&'a str>,
    case_id: Option<&'a str>,
    subject: Option<String>,
    details: Option<&'a RawValue>,
    hash: String,
}

impl<'a> From<&'a Entry> for Shown<'a> {
    fn from(entry: &'a Entry) -> Self {
        let origin = &entry.origin;
        Self {
            seq: entry.seq,
            at: entry.at.to_string(),
            action: entry.action.name(),
            actor: &origin.actor,
            role: &origin.role,
            client_address: origin.client_address.as_deref(),
            claimed_host: origin.claimed_host.as_deref(),
            claimed_version: origin.claimed_version.as_deref(),
            decision: entry.decision.map(Decision::name),
            refusal: entry.refusal.as_deref(),
            reason: entry.reason.as_deref(),
            case_id: entry.case_id.as_deref(),
            subject: entry.subject.map(|subject| subject.to_string()),
            details: serde_json::from_str(&entry.details).ok(),
            hash: hex(&entry.hash),
        }
    }
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
