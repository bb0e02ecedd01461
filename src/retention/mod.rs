//! `retention`: what is kept where, and for how long.
//!
//! Guaranteed: a repair of the default partition loses no row and shows none twice, is one transaction, and can be
//! killed and repeated at any time. Not guaranteed: that it finds a moment; it needs one without other sessions in
//! `login_events`, and gives up after its patience.

mod default_partition;

pub use default_partition::{RepairError, plan, repair};
