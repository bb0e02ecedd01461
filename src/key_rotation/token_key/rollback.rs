use std::time::Duration;

use tracing::{info, instrument};
use uuid::Uuid;

use super::empty::release;
use super::error::{CutOverError, Refusal};
use super::fill::let_unfilled;
use super::session::Session;
use super::{Progress, VIEW_AND_KEYS, unfinished};
use crate::db::rotation::token_key::cut_over::{self, may_replace_view};
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
    let mut session = Session { conn: &mut server.connect(Role::Owner).await?, patience, told: &told };
    let job = unfinished(session.conn).await?;
    match job.job.step {
        RotationStep::Emptying if job.job.rolled_back => {
            release(&mut session, job.id).await?;
            return Ok(job.id);
        }
        RotationStep::Work | RotationStep::Filled | RotationStep::CutOver => {}
        step => return Err(Refusal::Step { step, rolled_back: false }.into()),
    }
    let reason = reason.ok_or(CutOverError::NoReason)?;
    if !may_replace_view(session.conn).await? {
        return Err(Refusal::View.into());
    }
    session
        .until_changed("to replace the view user_logins", VIEW_AND_KEYS, async |session| {
            // Each time: a cut-over that was waiting may have had its turn in between.
            let_unfilled(session, job.new_slot).await?;
            Ok(cut_over::roll_back(session.conn, job.id, job.old_slot, reason).await?)
        })
        .await?;
    info!("the old tokens show, and the new key makes no tokens any more");
    release(&mut session, job.id).await?;
    Ok(job.id)
}
