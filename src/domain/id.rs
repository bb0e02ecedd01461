use std::fmt;

use uuid::Uuid;

/// The vault's identity: made once by `init`, bound into every seal and every encryption context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VaultId(pub Uuid);

/// The identity of one message: half of the primary key of what is stored from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub Uuid);

/// The identity of a data key, dead-letter key or token key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub Uuid);

impl EventId {
    /// The id under which an SQS message is stored: the message id itself where it is a hyphenated UUID, else a
    /// UUIDv5 of it (RFC 9562 section 5.5) in the namespace of the vault id.
    ///
    /// A redelivery carries the same message id, so it meets its first copy.
    #[must_use]
    pub fn of_message(vault: VaultId, message_id: &str) -> Self {
        // `Uuid::parse_str` also takes braces, `urn:uuid:` and 32 bare digits; those are not how SQS writes ids.
        let hyphenated = message_id.len() == 36;
        match Uuid::parse_str(message_id) {
            Ok(id) if hyphenated => Self(id),
            _ => Self(Uuid::new_v5(&vault.0, message_id.as_bytes())),
        }
    }

    /// The id under which a line of a file is stored: a UUIDv5 in the namespace of the vault id, of the byte 0xFF,
    /// which no message id's UTF-8 has, and then label, the source's length (u32 BE), the source, and the line's number
    /// from 1 (u64 BE).
    ///
    /// Nothing of it is the line's content: who guesses the content cannot check it by the id.
    #[must_use]
    pub fn of_line(vault: VaultId, source: &str, line: u64) -> Self {
        let length = u32::try_from(source.len()).unwrap_or(u32::MAX).to_be_bytes();
        let name = [b"\xffpii-vault/v1/line", length.as_slice(), source.as_bytes(), &line.to_be_bytes()].concat();
        Self(Uuid::new_v5(&vault.0, &name))
    }
}

impl VaultId {
    /// A fresh random id (UUIDv4).
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl KeyId {
    /// A fresh random id (UUIDv4).
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

macro_rules! shown_as_uuid {
    ($($id:ty),*) => {$(
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}
shown_as_uuid!(VaultId, EventId, KeyId);

#[cfg(test)]
mod tests {
    use uuid::uuid;

    use super::*;

    const VAULT: VaultId = VaultId(uuid!("6ba7b810-9dad-11d1-80b4-00c04fd430c8"));

    #[test]
    fn a_hyphenated_uuid_is_kept_in_any_case() {
        let id = uuid!("d3b07384-d9a0-4c9b-8f1e-1f2a3b4c5d6e");
        assert_eq!(EventId::of_message(VAULT, "d3b07384-d9a0-4c9b-8f1e-1f2a3b4c5d6e").0, id);
        assert_eq!(EventId::of_message(VAULT, "D3B07384-D9A0-4C9B-8F1E-1F2A3B4C5D6E").0, id);
    }

    #[test]
    fn anything_else_is_hashed_in_the_vaults_namespace() {
        // RFC 9562 appendix A.4 uses this namespace and name.
        assert_eq!(EventId::of_message(VAULT, "www.example.com").0, uuid!("2ed6657d-e927-568b-95e1-2665a8aea6a2"));
        let bare = "d3b07384d9a04c9b8f1e1f2a3b4c5d6e";
        assert_eq!(EventId::of_message(VAULT, bare).0, Uuid::new_v5(&VAULT.0, bare.as_bytes()));
        let other = VaultId(Uuid::nil());
        assert_ne!(EventId::of_message(other, bare), EventId::of_message(VAULT, bare));
    }

    #[test]
    fn each_line_of_each_source_has_an_id_of_its_own() {
        let sources = ["logins.jsonl", "logins.jsonl2", "", "\0\0\0\0\0\0\0\u{1}"];
        let ids: std::collections::HashSet<_> =
            sources.iter().flat_map(|source| (1..=300).map(|line| EventId::of_line(VAULT, source, line))).collect();
        assert_eq!(ids.len(), 1_200);
        assert_ne!(EventId::of_line(VAULT, "a", 1), EventId::of_line(VaultId(Uuid::nil()), "a", 1));
    }
}
