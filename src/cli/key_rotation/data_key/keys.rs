//! Data keys with the rows that name them, for people and as JSON.

use serde::Serialize;

use crate::cli::table::Table;
use crate::db::rotation::data_key::KeyRows;
use crate::domain::KeyState;

#[derive(Serialize)]
pub(super) struct Shown {
    pub(super) id: String,
    pub(super) state: &'static str,
    pub(super) rows: i64,
    pub(super) set_aside: i64,
}

impl From<&KeyRows> for Shown {
    fn from(key: &KeyRows) -> Self {
        let state = key.state.map_or("missing", KeyState::name);
        Self { id: key.id.to_string(), state, rows: key.row_count, set_aside: key.set_aside }
    }
}

pub(super) fn table(keys: &[Shown]) -> Table<4> {
    let mut table = Table::new(["KEY", "STATE", "ROWS", "SET ASIDE"]);
    for key in keys {
        table.add([key.id.clone(), key.state.to_owned(), key.rows.to_string(), key.set_aside.to_string()]);
    }
    table
}
