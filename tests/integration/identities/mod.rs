//! Who may do what in AWS: the table of `keys/README.md`, the policies beside it, and what an endpoint that enforces
//! them lets each identity do, all three the same.

mod commands;
mod documents;
mod matrix;
mod scene;
mod table;
