//! PostgreSQL, SQS and KMS on this machine, for as long as their owner lives.
//!
//! ```text
//! Stack ─┬─ Postgres ─┬─ Supervised ── pipe ── supervise.sh ── postgres
//!        └─ Endpoint ─┘                                        ministack (SQS), moto (KMS)
//! ```
//!
//! Apart from the stack, for the few who need it: [`Endpoint::start_with_iam`], where policies are in force.
//!
//! Each server is the child of a small shell script that stops it and deletes its folder as soon as the pipe to it
//! closes. The kernel closes a pipe whichever way its holder dies, so nothing outlives a test binary (whose statics
//! are never dropped), a panic, Ctrl-C or SIGKILL. All servers listen on 127.0.0.1 alone, on ports that were free.
//!
//! The demo and the integration tests both include this module by its path.
#![allow(dead_code, unused_imports, reason = "the demo and the tests each use a part of it")]

mod detached;
mod endpoint;
pub(crate) mod iam;
mod postgres;
mod supervised;

use std::path::Path;

use anyhow::Result;

pub(crate) use endpoint::Endpoint;
pub(crate) use postgres::{Postgres, TlsIdentity};

/// The three servers, all ready. Dropping it stops them and deletes what they stored.
pub(crate) struct Stack {
    pub(crate) postgres: Postgres,
    pub(crate) sqs: Endpoint,
    pub(crate) kms: Endpoint,
}

impl Stack {
    /// Starts the servers side by side and returns when the last one is ready.
    pub(crate) fn start() -> Result<Self> {
        let mut stack = Self { postgres: Postgres::spawn()?, sqs: Endpoint::spawn_sqs()?, kms: Endpoint::spawn_kms()? };
        stack.postgres.wait_until_ready()?;
        stack.sqs.wait_until_ready()?;
        stack.kms.wait_until_ready()?;
        Ok(stack)
    }

    /// Starts servers that outlive this process. `state_file` gets what [`Stack::stop_detached`] needs to end them.
    pub(crate) fn start_detached(state_file: &Path) -> Result<Self> {
        detached::refuse_second(state_file)?;
        let mut stack = Self::start()?;
        // Only now do the servers learn to live on: whatever fails before this leaves nothing running.
        detached::write(state_file, stack.servers())?;
        for server in stack.servers() {
            server.detach()?;
        }
        Ok(stack)
    }

    /// Ends the servers that `state_file` names and returns when they are gone; `false` if there is no such file.
    pub(crate) fn stop_detached(state_file: &Path) -> Result<bool> {
        detached::stop(state_file)
    }

    fn servers(&mut self) -> [&mut supervised::Supervised; 3] {
        [self.postgres.server(), self.sqs.server(), self.kms.server()]
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // All at once: each field's own drop would wait for its server before the next is told.
        for server in self.servers() {
            server.release();
        }
    }
}
