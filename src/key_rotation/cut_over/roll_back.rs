use std::time::Duration;

use tracing::{info, instrument};
use uuid::Uuid;

use super::empty::release;
use super::error::{CutOverError, Refusal};
use super::fill::let_unfilled;
use super::trying::Trying;
use super::{Progress, unfinished};
use crate::db::rotation::cut_over::{self, SlotChange, holders, may_replace_view};
use crate::db::{Role, Server};
use crate::domain::RotationStep;

/// Gives the new key up: the view shows the old tokens, as before or again, and the job, which is returned, empties the
/// slot of the new ones. `reason` may be missing where that began before.
///
/// # Errors
/// [`CutOverError`].
#[instrument(name = "rollback", skip_all)]
pub async fn roll_back(
    server: &Server,
    reason: Option<&str>,
    patience: Duration,
    told: impl Fn(Progress),
) -> Result<Uuid, CutOverError> {
    let mut conn = server.connect(Role::Owner).await?;
    let job = unfinished(&mut conn).await?;
    match job.job.step {
        RotationStep::Emptying if job.job.rolled_back => {
            release(&mut conn, job.id, patience, &told).await?;
            return Ok(job.id);
        }
        RotationStep::Work | RotationStep::Filled | RotationStep::CutOver => {}
        step => return Err(Refusal::Step { step, rolled_back: false }.into()),
    }
    let reason = reason.ok_or(Refusal::NoReason)?;
    if !may_replace_view(&mut conn).await? {
        return Err(Refusal::View.into());
    }
    let mut trying = Trying::new(patience);
    loop {
        // Each time: a cut-over that was waiting may have had its turn in between.
        let_unfilled(&mut conn, job.new_slot, trying.left(), &told).await?;
        match cut_over::roll_back(&mut conn, job.id, job.old_slot, reason).await? {
            SlotChange::Done => break,
            SlotChange::LockedOut => {}
            other => return Err(Refusal::Changed(other).into()),
        }
        let holders = holders(&mut conn, &["public.user_logins", "pii_vault.token_keys"]).await?;
        if !trying.again().await {
            return Err(CutOverError::InTheWay { what: "to replace the view user_logins", holders });
        }
        told(Progress::Waiting(holders));
    }
    info!("the old tokens show, and the new key makes no tokens any more");
    release(&mut conn, job.id, patience, &told).await?;
    Ok(job.id)
}
