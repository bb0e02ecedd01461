//! Rotations of keys, while ingestion and unmask go on: record → arm → claim a page → work on it → settle, until
//! nothing is left.
//!
//! Guaranteed: a committed entry of the audit log names a rotation before it touches a row; each page is changed and
//! settled in one transaction, so that no row is half done whenever a run dies; what is changed is compared with what
//! was read (compare and swap), so runners that meet lose nothing; a row that does not open is listed, passed over, and
//! stays as it is; memory holds a page for each worker.
//! Not guaranteed: that a row is worked on once. A run that dies loses the work on what its workers had in hand, a page
//! for each of them: the next pass finds those rows or keys, opens them and asks KMS for them once more. Nor that a
//! rotation ends by itself: who runs it again goes on where it was. Nor a rate for a rotation as a whole: each run
//! keeps its own.
//!
//! [`kek`], [`data_key`] and [`token_key`] have the same names on the command line and in [`crate::db::rotation`].

pub mod data_key;
mod error;
mod event;
pub mod kek;
mod opening;
mod pace;
mod plan;
mod proof;
mod runner;
mod seen;
pub mod token_key;
mod waited;

pub use error::RotationError;
pub use plan::{SampleError, reseal_time, token_time};
pub use proof::{Proof, Wrong, prove};
pub use runner::{Ending, Hands, Options, Worker, run};
