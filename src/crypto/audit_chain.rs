//! The hashes of the audit log: of an entry, over the one before, and of the list of a receipt.

use sha2::{Digest as _, Sha256};
use time::Date;

use super::aad::ascii_date;
use crate::domain::audit::{Decision, Entry};
use crate::domain::{EventId, VaultId};

/// What the first entry of an audit log follows: no entry.
pub const NO_ENTRY: [u8; 32] = [0; 32];

/// The hash of an entry that follows one of the hash `before`: SHA-256 over its own fields and that one. What the
/// entry says its hash to be takes no part.
#[must_use]
pub fn entry_hash(vault: VaultId, before: &[u8; 32], entry: &Entry) -> [u8; 32] {
    Sha256::digest(entry_bytes(vault, before, entry)).into()
}

/// The hash of the list of a receipt's rows, one row after the other in the order of their ordinals.
#[derive(Clone, Debug)]
pub struct ListHash(Sha256);

impl ListHash {
    /// Of a list that has no rows yet.
    #[must_use]
    pub fn new() -> Self {
        let mut label = Vec::new();
        part(&mut label, Some(b"pii-vault/v1/list"));
        Self(Sha256::new_with_prefix(label))
    }

    /// Adds a row.
    pub fn row(&mut self, create_date: Date, event: EventId) {
        let mut row = Vec::with_capacity(34);
        part(&mut row, Some(ascii_date(create_date).as_bytes()));
        part(&mut row, Some(event.0.as_bytes()));
        self.0.update(row);
    }

    /// The hash, in lower-case hex as the log has it.
    #[must_use]
    pub fn hex(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Default for ListHash {
    fn default() -> Self {
        Self::new()
    }
}

/// Each part with its length before it, so that no two entries share bytes. Never over renderings: settings of a
/// session change those.
pub(super) fn entry_bytes(vault: VaultId, before: &[u8; 32], entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512 + entry.details.len());
    part(&mut bytes, Some(b"pii-vault/v1/audit"));
    part(&mut bytes, Some(vault.0.as_bytes()));
    part(&mut bytes, Some(before));
    part(&mut bytes, Some(&entry.seq.to_be_bytes()));
    part(&mut bytes, Some(&entry.at.0.to_be_bytes()));
    part(&mut bytes, Some(entry.action.name().as_bytes()));
    part(&mut bytes, Some(entry.origin.actor.as_bytes()));
    part(&mut bytes, Some(entry.origin.role.as_bytes()));
    part(&mut bytes, text(&entry.origin.client_address));
    part(&mut bytes, text(&entry.origin.claimed_host));
    part(&mut bytes, text(&entry.origin.claimed_version));
    part(&mut bytes, entry.decision.map(Decision::name).map(str::as_bytes));
    part(&mut bytes, text(&entry.refusal));
    part(&mut bytes, text(&entry.reason));
    part(&mut bytes, text(&entry.case_id));
    part(&mut bytes, entry.subject.as_ref().map(|subject| subject.as_bytes().as_slice()));
    part(&mut bytes, Some(entry.details.as_bytes()));
    bytes
}

fn text(field: &Option<String>) -> Option<&[u8]> {
    field.as_deref().map(str::as_bytes)
}

/// NULL is a length that no field has.
fn part(bytes: &mut Vec<u8>, field: Option<&[u8]>) {
    let Some(field) = field else { return bytes.extend_from_slice(&[0xff; 4]) };
    #[expect(clippy::expect_used, reason = "PostgreSQL's longest field is 1 GiB")]
    let length = u32::try_from(field.len()).expect("a field is below 4 GiB");
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(field);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::domain::audit::{Action, Origin, UnixMicros};

    /// Short texts of few characters: those that collide where lengths are left out.
    fn text() -> impl Strategy<Value = String> {
        "[a\0\u{ff}]{0,3}"
    }

    fn optional() -> impl Strategy<Value = Option<String>> {
        proptest::option::of(text())
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let origin = (text(), text(), optional(), optional(), optional()).prop_map(
            |(actor, role, client_address, claimed_host, claimed_version)| Origin {
                actor,
                role,
                client_address,
                claimed_host,
                claimed_version,
            },
        );
        let decision = proptest::option::of(prop_oneof![Just(Decision::Allowed), Just(Decision::Refused)]);
        let subject = proptest::option::of((0_u128..3).prop_map(Uuid::from_u128));
        let rest = (optional(), optional(), optional(), subject, text());
        (0_i64..3, 0_i64..3, text(), origin, decision, rest).prop_map(
            |(seq, at, action, origin, decision, (refusal, reason, case_id, subject, details))| Entry {
                seq,
                at: UnixMicros(at),
                action: Action::of_name(action),
                origin,
                decision,
                refusal,
                reason,
                case_id,
                subject,
                details,
                hash: NO_ENTRY,
            },
        )
    }

    /// An entry, and another that differs from it in little or not at all.
    fn two_entries() -> impl Strategy<Value = (Entry, Entry)> {
        (entry(), entry(), 0_u8..8).prop_map(|(one, mut other, kept)| {
            if kept & 1 != 0 {
                (other.seq, other.at, other.origin.role) = (one.seq, one.at, one.origin.role.clone());
            }
            if kept & 2 != 0 {
                (other.action, other.decision, other.subject) = (one.action.clone(), one.decision, one.subject);
                (other.refusal, other.details) = (one.refusal.clone(), one.details.clone());
            }
            if kept & 4 != 0 {
                let actor = other.origin.actor;
                other.origin = Origin { actor, ..one.origin.clone() };
            }
            (one, other)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn two_entries_share_their_bytes_only_where_they_are_one((one, other) in two_entries()) {
            let bytes = |entry| entry_bytes(VaultId(Uuid::nil()), &NO_ENTRY, entry);
            prop_assert_eq!(bytes(&one) == bytes(&other), one == other);
        }

        /// Whatever is moved from the end of one field to the start of the next.
        #[test]
        fn no_border_between_fields_can_be_moved(text in "[a-z\0\u{ff}]{1,9}", one in 0_usize..9, other in 0_usize..9) {
            let chars: Vec<char> = text.chars().collect();
            let split = |at: usize| {
                let (head, tail) = chars.split_at(at.min(chars.len()));
                (head.iter().collect::<String>(), tail.iter().collect::<String>())
            };
            let made = |at| {
                let mut bytes = Vec::new();
                let (head, tail) = split(at);
                part(&mut bytes, Some(head.as_bytes()));
                part(&mut bytes, Some(tail.as_bytes()));
                bytes
            };
            prop_assert_eq!(made(one) == made(other), split(one) == split(other));
        }
    }
}
