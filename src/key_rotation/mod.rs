//! Rotations of keys, while ingestion and unmask go on: record → arm → claim a page → work on it → settle, until nothing
//! is left.
//!
//! Guaranteed: a committed entry of the audit log names a rotation before it touches a row; each page is changed and
//! settled in one transaction, so a run that dies loses one page of work at most and leaves no row half done; what is
//! changed is compared with what was read (compare and swap), so runners that meet lose nothing; a row that does not
//! open is listed, passed over, and stays as it is; memory holds a page for each worker.
//! Not guaranteed: that a rotation ends by itself. Who runs it again goes on where it was.

pub mod data_key;
mod error;
mod failure;
pub mod kek;
mod pace;
mod plan;
mod runner;
pub mod token_key;

pub use error::RotationError;
pub use plan::{SampleError, reseal_time, token_time};
pub use runner::{Ending, Hands, Options, Worker, run};
