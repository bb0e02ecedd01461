//! `key-rotation kek`. What the KMS of the stack does not say by itself is said by the door before it.

mod aliases;
mod bad_keys;
mod chosen;
mod faults;
mod killed;
mod materials;
mod moves;
mod refusals;
mod retires;
mod runners;
mod scene;
