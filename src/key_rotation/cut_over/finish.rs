use std::time::Duration;

use tracing::{info, instrument};
use uuid::Uuid;

use super::empty::release;
use super::error::{CutOverError, Refusal};
use super::trying::Trying;
use super::{Progress, unfinished};
use crate::db::rotation::cut_over::{self, SlotChange, holders};
use crate::db::{Role, Server};
use crate::domain::RotationStep;

/// Gives the old key up: it makes no tokens any more, and the job, which is returned, empties its slot. There is no way
/// back.
///
/// # Errors
/// [`CutOverError`].
#[instrument(name = "finish", skip_all)]
pub async fn finish(
    server: &Server,
    reason: Option<&str>,
    patience: Duration,
    told: impl Fn(Progress),
) -> Result<Uuid, CutOverError> {
    let mut conn = server.connect(Role::Owner).await?;
    let job = unfinished(&mut conn).await?;
    let (step, rolled_back) = (job.job.step, job.job.rolled_back);
    if !matches!(step, RotationStep::CutOver | RotationStep::Emptying) || rolled_back {
        return Err(Refusal::Step { step, rolled_back }.into());
    }
    let mut trying = Trying::new(patience);
    loop {
        match cut_over::finish(&mut conn, job.id, reason).await? {
            SlotChange::Done => break,
            SlotChange::LockedOut => {}
            other => return Err(Refusal::Changed(other).into()),
        }
        let holders = holders(&mut conn, &["pii_vault.token_keys"]).await?;
        if !trying.again().await {
            return Err(CutOverError::InTheWay { what: "to take the old token key out of use", holders });
        }
        told(Progress::Waiting(holders));
    }
    info!("the old key makes no tokens any more");
    release(&mut conn, job.id, patience, &told).await?;
    Ok(job.id)
}
