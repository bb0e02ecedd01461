//! Rotations of keys, while ingestion and unmask go on: record → arm → claim a page → work on it → settle, until nothing
//! is left.
//!
//! Guaranteed: a committed entry of the audit log names a rotation before it touches a row; each page is changed and
//! settled in one transaction, so a run that dies loses one page of work at most and leaves no row half done; what is
//! changed is compared with what was read (compare and swap), so runners that meet lose nothing; a row that does not
//! open is listed, passed over, and stays as it is; memory holds a page for each worker.
//! Not guaranteed: that a rotation ends by itself. Who runs it again goes on where it was.

pub mod backfill;
pub mod cut_over;
mod error;
mod failure;
mod pace;
pub mod reseal;
pub mod rewrap;
mod runner;
mod sample;

pub use error::RotationError;
pub use runner::{Ending, Hands, Options, Worker, run};
pub use sample::{SampleError, reseal_time, token_time};
