//! Vectors of the audit log.

use serde_json::Value;

use super::read::{array, date, hex, text, uuid};
use crate::crypto::audit_chain::{ListHash, entry_bytes, entry_hash};
use crate::crypto::checkpoint::CheckpointKey;
use crate::crypto::hex::hex as digits;
use crate::crypto::restore::Restore;
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

#[test]
fn restores() {
    for vector in array("restores") {
        let (restore, key) = restore(vector);
        let restore = restore.unwrap_or_else(|| panic!("{vector}"));
        assert_eq!(restore.verify(&key), Ok(()), "{vector}");
        assert_eq!(restore.passed_over(), vector["passed_over"].as_i64().unwrap(), "{vector}");
        assert_eq!(restore.link().map(|link| digits(&link)).as_deref(), vector["link"].as_str(), "{vector}");
        let of = |at: usize| vector["superseded"][at].as_i64();
        let superseded = |seq: i64| of(0).zip(of(1)).is_some_and(|(first, last)| (first..=last).contains(&seq));
        assert!((0..1500).all(|seq| restore.supersedes(seq) == superseded(seq)), "{vector}");
    }
    for vector in array("refused_restores") {
        let (restore, key) = restore(vector);
        assert!(restore.is_none_or(|restore| restore.verify(&key).is_err()), "{vector}");
    }
}

fn restore(vector: &Value) -> (Option<Restore>, CheckpointKey) {
    let details = serde_json::from_str(text(vector, "details")).unwrap();
    let restore = Restore::of(VaultId(uuid(vector, "vault_id")), vector["seq"].as_i64().unwrap(), &details).ok();
    (restore, CheckpointKey::from_pem(text(vector, "public_key")).unwrap())
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
