//! `retention`: what is kept where, and for how long.
//!
//! Guaranteed: a repair of the default partition loses no row and shows none twice, is one transaction, and can be
//! killed and repeated at any time. Not guaranteed: that it finds a moment; it needs one without other sessions in
//! `login_events`, and gives up after its patience.
//!
//! Guaranteed: a deletion of dead letters that is interrupted has deleted whole batches, and the next one goes on; the
//! records of who redrove what stay. Not guaranteed: that backups forget.

mod dead_letters;
mod default_partition;

pub use dead_letters::delete_dead_letters;
pub use default_partition::{RepairError, plan, repair};
