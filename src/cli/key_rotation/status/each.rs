use std::fmt;

use serde::Serialize;
use time::OffsetDateTime;

use super::shown::{time, within};
use crate::cli::key_rotation::plan::number;
use crate::cli::table::Table;
use crate::db::rotation::{self, ListedKey};
use crate::db::{Connection, DbError};
use crate::domain::{KeyState, Purpose, TokenSlot};

/// One key a line, with its id.
#[derive(Serialize)]
pub(super) struct Each {
    keys: Vec<Key>,
    /// There are older ones, which are not in it.
    has_more: bool,
    #[serde(skip)]
    purpose: Option<Purpose>,
}

#[derive(Serialize)]
struct Key {
    id: String,
    purpose: &'static str,
    /// `missing`: rows name it, and it is not there.
    state: &'static str,
    slot: Option<&'static str>,
    created_at: Option<String>,
    age_seconds: Option<i64>,
    /// By KMS, for the last time.
    wrapped_at: Option<String>,
    kms_key: Option<String>,
    /// `None`: not counted.
    rows: Option<i64>,
    /// Of a data key: rows that did not open and were taken out of the events.
    set_aside: Option<i64>,
}

impl Each {
    pub(super) async fn read(
        conn: &mut Connection,
        with_rows: bool,
        purpose: Option<Purpose>,
        most: u32,
    ) -> Result<Self, DbError> {
        // One more than is shown tells whether there is more.
        let asked = i32::try_from(most.saturating_add(1)).unwrap_or(i32::MAX);
        let mut keys = rotation::list(conn, with_rows, purpose, asked).await?;
        let shown = usize::try_from(most).unwrap_or(usize::MAX);
        let has_more = keys.len() > shown;
        keys.truncate(shown);
        let now = OffsetDateTime::now_utc();
        Ok(Self { keys: keys.into_iter().map(|key| Key::of(key, with_rows, now)).collect(), has_more, purpose })
    }
}

impl Key {
    fn of(key: ListedKey, with_rows: bool, now: OffsetDateTime) -> Self {
        Self {
            id: key.id.to_string(),
            purpose: key.purpose.name(),
            state: key.state.map_or("missing", KeyState::name),
            slot: key.slot.map(TokenSlot::name),
            created_at: key.created_at.map(time),
            age_seconds: key.created_at.map(|made| (now - made).whole_seconds().max(0)),
            wrapped_at: key.wrapped_at.map(time),
            kms_key: key.kms_key,
            rows: with_rows.then_some(key.row_count),
            set_aside: with_rows.then_some(key.set_aside).filter(|_| key.purpose == Purpose::Data),
        }
    }
}

impl fmt::Display for Each {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table =
            Table::new(["KEY", "FOR", "STATE", "AGE", "CREATED", "WRAPPED", "ROWS", "SET ASIDE", "KMS KEY"]);
        let or = |told: Option<String>| told.unwrap_or("-".to_owned());
        // To the second: people read it.
        let seconds = |at: &Option<String>| or(at.as_ref().and_then(|at| at.get(..19)).map(|at| format!("{at}Z")));
        for key in &self.keys {
            let slot = key.slot.map(|slot| format!(" (slot {slot})")).unwrap_or_default();
            table.add([
                key.id.clone(),
                format!("{}{slot}", key.purpose),
                key.state.to_owned(),
                or(key.age_seconds.map(|age| within(number(age)))),
                seconds(&key.created_at),
                seconds(&key.wrapped_at),
                or(key.rows.map(|rows| rows.to_string())),
                or(key.set_aside.map(|rows| rows.to_string())),
                or(key.kms_key.clone()),
            ]);
        }
        write!(f, "{table}")?;
        match (self.has_more, self.purpose) {
            (true, Some(_)) => writeln!(f, "there are older ones: --limit N shows more"),
            (true, None) => writeln!(f, "there are more: --limit N shows them, --purpose those of one kind alone"),
            (false, _) => Ok(()),
        }
    }
}
