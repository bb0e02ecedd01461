use super::finding::Broken;
use crate::crypto::audit_chain::{NO_ENTRY, entry_hash};
use crate::crypto::restore::Restore;
use crate::db::audit_log::Head;
use crate::domain::VaultId;
use crate::domain::audit::Entry;

/// The chain of hashes, up to the last entry that was followed.
pub(super) struct Chain {
    vault: VaultId,
    seq: i64,
    hash: [u8; 32],
}

impl Chain {
    pub(super) fn of(vault: VaultId) -> Self {
        Self { vault, seq: 0, hash: NO_ENTRY }
    }

    /// Of a part, which follows an entry of this hash.
    pub(super) fn after(vault: VaultId, seq: i64, hash: [u8; 32]) -> Self {
        Self { vault, seq, hash }
    }

    /// The number of the last entry.
    pub(super) fn seq(&self) -> i64 {
        self.seq
    }

    /// Its hash.
    pub(super) fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The next entry that there is. After one that is broken the chain goes on with what that one says its hash is,
    /// so that each fault is found once. `restore`: what the entry says of numbers that were passed over before it,
    /// where that holds.
    pub(super) fn follow(&mut self, entry: &Entry, restore: Option<&Restore>) -> Result<(), Broken> {
        let before = self.hash;
        let expected = restore.map_or(self.seq.saturating_add(1), |restore| restore.seq);
        (self.seq, self.hash) = (entry.seq, entry.hash);
        if entry.seq != expected {
            return Err(Broken::new("gap", missing(expected, entry.seq.saturating_sub(1))));
        }
        if entry_hash(self.vault, &before, entry) != entry.hash {
            let what = "its hash is not that of its fields and the entry before: one of them was changed, or moved";
            return Err(Broken::new("hash", what));
        }
        Ok(())
    }

    pub(super) fn ends_at(&self, head: Head) -> Result<(), Broken> {
        if head.seq > self.seq {
            return Err(Broken::new("head", missing(self.seq.saturating_add(1), head.seq)));
        }
        if head.seq < self.seq {
            return Err(Broken::new(
                "head",
                format!("the head row says that the log ends here, but it goes on to {}", self.seq),
            ));
        }
        if head.hash != self.hash {
            return Err(Broken::new("head", "the head row has another hash than the last entry"));
        }
        Ok(())
    }
}

fn missing(first: i64, last: i64) -> String {
    match first == last {
        true => format!("entry {first} is missing"),
        false if first < last => format!("entries {first} to {last} are missing"),
        false => format!("its number is not {first}, which would be the next"),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::audit::{Action, Origin, UnixMicros};

    const VAULT: VaultId = VaultId(Uuid::nil());

    fn log(count: i64) -> Vec<Entry> {
        let mut before = NO_ENTRY;
        let entry = |seq| {
            let mut entry = Entry {
                seq,
                at: UnixMicros(seq),
                action: Action::Init,
                origin: Origin::default(),
                decision: None,
                refusal: None,
                reason: None,
                case_id: None,
                subject: None,
                details: "{}".to_owned(),
                hash: NO_ENTRY,
            };
            entry.hash = entry_hash(VAULT, &before, &entry);
            before = entry.hash;
            entry
        };
        (1..=count).map(entry).collect()
    }

    /// The word and place of each fault, the end's at 0.
    fn faults(log: &[Entry], head: Head) -> Vec<(&'static str, i64)> {
        let mut chain = Chain::of(VAULT);
        let mut faults: Vec<_> =
            log.iter().filter_map(|entry| Some((chain.follow(entry, None).err()?.word, entry.seq))).collect();
        faults.extend(chain.ends_at(head).err().map(|broken| (broken.word, 0)));
        faults
    }

    #[test]
    fn a_fault_is_found_once_and_where_it_is() {
        let whole = log(9);
        let head = Head { seq: 9, hash: whole[8].hash };
        assert_eq!(faults(&whole, head), []);
        assert_eq!(faults(&[], Head { seq: 0, hash: NO_ENTRY }), []);
        let edited: Vec<_> = whole
            .iter()
            .cloned()
            .map(|mut entry| {
                if entry.seq == 4 {
                    entry.reason = Some(String::new());
                }
                entry
            })
            .collect();
        assert_eq!(faults(&edited, head), [("hash", 4)]);
        let without = |gone: i64| whole.iter().filter(|entry| entry.seq != gone).cloned().collect::<Vec<_>>();
        assert_eq!(faults(&without(1), head), [("gap", 2)]);
        assert_eq!(faults(&without(4), head), [("gap", 5)]);
        assert_eq!(faults(&without(9), head), [("head", 0)]);
        assert_eq!(faults(&whole, Head { seq: 8, ..head }), [("head", 0)]);
        assert_eq!(faults(&whole, Head { hash: NO_ENTRY, ..head }), [("head", 0)]);
        let other = VaultId(Uuid::max());
        assert!(Chain::of(other).follow(&whole[0], None).is_err());
    }
}
