//! `plan` of each kind: how much there is to do, and how long it takes by a measured sample. Nothing is changed.

mod estimate;
mod shown;

pub(super) use estimate::{Pace, SYNTHETIC, Sample, number};
pub(super) use shown::{Plan, Requests};
