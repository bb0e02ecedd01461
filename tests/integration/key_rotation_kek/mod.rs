//! `key-rotation kek`. moto wraps anew with both contexts, yet looks neither at the KMS key that the caller names for the
//! old side nor at whether a KMS key is disabled, and its RotateKeyOnDemand leaves the material as it is: what it does not
//! refuse is said by the door before it.

mod aliases;
mod bad_keys;
mod faults;
mod moves;
mod refusals;
mod retires;
mod runners;
mod scene;
