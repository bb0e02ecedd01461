//! `plan` of each kind: how much there is to do, and how long it takes by a measured sample. Nothing is changed.

pub(super) mod data_key;
mod estimate;
mod shown;
pub(super) mod token_key;

pub(super) use estimate::number;
pub(super) use shown::{Plan, Requests};
