use std::time::Duration;

use tracing::info;
use uuid::Uuid;

use super::Progress;
use super::error::{CutOverError, Refusal};
use super::trying::Trying;
use crate::db::Connection;
use crate::db::rotation::Range;
use crate::db::rotation::cut_over::{self, SlotChange, holders};
use crate::key_rotation::{Hands, RotationError, Worker};

/// Empties the slot that is out of use, for [`crate::key_rotation::run`] under the owner's role. Opens nothing.
#[derive(Clone, Copy, Debug)]
pub struct Emptier;

impl Worker for Emptier {
    async fn work(&self, hands: &Hands, range: Range) -> Result<(), RotationError> {
        cut_over::empty(&mut *hands.pool.get().await?, hands.job, hands.runner, range).await?;
        Ok(())
    }
}

/// Takes away the rule and the indexes that the slot had which is to be emptied.
pub(super) async fn release(
    conn: &mut Connection,
    job: Uuid,
    patience: Duration,
    told: &impl Fn(Progress),
) -> Result<(), CutOverError> {
    let mut trying = Trying::new(patience);
    loop {
        match cut_over::release_slot(conn, job).await? {
            SlotChange::Done => {
                info!("the slot has no indexes any more");
                return Ok(());
            }
            SlotChange::LockedOut => {}
            other => return Err(Refusal::Changed(other).into()),
        }
        let holders = holders(conn, &["pii_vault.login_events"]).await?;
        if !trying.again().await {
            return Err(CutOverError::InTheWay { what: "to drop the indexes of the slot", holders });
        }
        told(Progress::Waiting(holders));
    }
}
