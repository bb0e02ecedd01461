use serde::Serialize;
use uuid::Uuid;

use crate::db::rotation::token_key::TokenDifference;
use crate::key_rotation::Wrong;

/// An event that is not as it should be, in the report of a `verify`.
#[derive(Serialize)]
pub(super) struct WrongRow {
    pub(super) create_date: String,
    pub(super) event_id: Uuid,
    pub(super) why: String,
}

impl From<&Wrong> for WrongRow {
    fn from(row: &Wrong) -> Self {
        let (day, event_id) = row.position;
        Self { create_date: day.to_string(), event_id, why: row.why.name().to_owned() }
    }
}

impl From<&TokenDifference> for WrongRow {
    fn from(row: &TokenDifference) -> Self {
        Self { create_date: row.create_date.to_string(), event_id: row.event_id, why: row.difference.clone() }
    }
}
