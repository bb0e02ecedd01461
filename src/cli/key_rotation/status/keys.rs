use std::fmt;

use serde::Serialize;
use time::OffsetDateTime;

use super::shown::{time, within};
use crate::cli::table::Table;
use crate::db::rotation::KeyGroup;
use crate::domain::{KeyState, Purpose, TokenSlot};

/// All keys of the vault.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Keys(Vec<Group>);

impl Keys {
    pub(super) fn of(groups: Vec<KeyGroup>, with_rows: bool) -> Self {
        Self(groups.into_iter().map(|group| Group::of(group, with_rows)).collect())
    }
}

#[derive(Serialize)]
struct Group {
    purpose: &'static str,
    /// `missing`: rows name them, and they are not there.
    state: &'static str,
    slot: Option<&'static str>,
    kms_key: Option<String>,
    keys: i64,
    oldest: Option<String>,
    newest: Option<String>,
    /// What of them KMS has not wrapped anew for longest.
    longest_wrapped: Option<String>,
    /// `None`: not counted.
    rows: Option<i64>,
    values: Option<i64>,
    unused: Option<i64>,
    /// Of data keys: rows that did not open and were taken out of the events.
    set_aside: Option<i64>,
    #[serde(skip)]
    age: String,
}

impl Group {
    fn of(group: KeyGroup, with_rows: bool) -> Self {
        // An event has two values, each with a token in each slot; a dead letter is one.
        let each = if group.purpose == Purpose::DeadLetter { 1 } else { 2 };
        let counted = |count: i64| with_rows.then_some(count);
        Self {
            purpose: group.purpose.name(),
            state: group.state.map_or("missing", KeyState::name),
            slot: group.slot.map(TokenSlot::name),
            kms_key: group.kms_key,
            keys: group.key_count,
            oldest: group.oldest.map(time),
            newest: group.newest.map(time),
            longest_wrapped: group.longest_wrapped.map(time),
            rows: counted(group.row_count),
            values: counted(group.row_count.saturating_mul(each)),
            unused: counted(group.unused),
            set_aside: counted(group.set_aside).filter(|_| group.purpose == Purpose::Data),
            age: age(group.oldest, group.newest),
        }
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table =
            Table::new(["KEYS FOR", "STATE", "KEYS", "UNUSED", "AGE", "ROWS", "VALUES", "SET ASIDE", "KMS KEY"]);
        for group in &self.0 {
            let slot = group.slot.map(|slot| format!(" (slot {slot})")).unwrap_or_default();
            let counted = |count: Option<i64>| count.map_or("-".to_owned(), |count| count.to_string());
            table.add([
                format!("{}{slot}", group.purpose),
                group.state.to_owned(),
                group.keys.to_string(),
                counted(group.unused),
                group.age.clone(),
                counted(group.rows),
                counted(group.values),
                counted(group.set_aside),
                group.kms_key.clone().unwrap_or("-".to_owned()),
            ]);
        }
        write!(f, "{table}")
    }
}

/// Of the newest, and of the oldest where that is another.
fn age(oldest: Option<OffsetDateTime>, newest: Option<OffsetDateTime>) -> String {
    let now = OffsetDateTime::now_utc();
    let age = |made: OffsetDateTime| within((now - made).as_seconds_f64());
    match (oldest.map(age), newest.map(age)) {
        (Some(oldest), Some(newest)) if oldest != newest => format!("{newest} to {oldest}"),
        (Some(oldest), _) => oldest,
        (None, _) => "-".to_owned(),
    }
}
