//! Vectors of the audit log.

use serde_json::Value;

use super::read::{array, date, hex, text, uuid};
use crate::crypto::audit_chain::{ListHash, entry_bytes, entry_hash};
use crate::domain::audit::{Action, Decision, Entry, Origin, UnixMicros};
use crate::domain::{EventId, VaultId};

#[test]
fn audit_entries() {
    for vector in array("audit_entries") {
        let (entry, vault) = (entry(vector), VaultId(uuid(vector, "vault_id")));
        let before = hex(vector, "before").try_into().unwrap();
        assert_eq!(entry_bytes(vault, &before, &entry), hex(vector, "bytes"), "{vector}");
        assert_eq!(entry_hash(vault, &before, &entry), entry.hash, "{vector}");
    }
}

#[test]
fn audit_lists() {
    for vector in array("audit_lists") {
        let mut hash = ListHash::new();
        for row in vector["rows"].as_array().unwrap() {
            hash.row(date(row), EventId(uuid(row, "event_id")));
        }
        assert_eq!(hash.hex(), text(vector, "sha256"), "{vector}");
    }
}

fn entry(vector: &Value) -> Entry {
    let optional = |name: &str| vector[name].as_str().map(str::to_owned);
    let required = |name: &str| text(vector, name).to_owned();
    Entry {
        seq: vector["seq"].as_i64().unwrap(),
        at: UnixMicros(vector["at"].as_i64().unwrap()),
        action: Action::of_name(required("action")),
        origin: Origin {
            actor: required("actor"),
            role: required("role"),
            client_address: optional("client_address"),
            claimed_host: optional("claimed_host"),
            claimed_version: optional("claimed_version"),
        },
        decision: Decision::ALL.into_iter().find(|decision| vector["decision"] == decision.name()),
        refusal: optional("refusal"),
        reason: optional("reason"),
        case_id: optional("case_id"),
        subject: vector["subject"].is_string().then(|| uuid(vector, "subject")),
        details: required("details"),
        hash: hex(vector, "hash").try_into().unwrap(),
    }
}
