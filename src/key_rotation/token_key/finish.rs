use std::time::Duration;

use tracing::{info, instrument};
use uuid::Uuid;

use super::empty::release;
use super::error::{CutOverError, Refusal};
use super::session::Session;
use super::{Progress, TOKEN_KEYS, unfinished};
use crate::db::rotation::token_key::cut_over;
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
    let mut session = Session { conn: &mut server.connect(Role::Owner).await?, patience, told: &told };
    let job = unfinished(session.conn).await?;
    let (step, rolled_back) = (job.job.step, job.job.rolled_back);
    if !matches!(step, RotationStep::CutOver | RotationStep::Emptying) || rolled_back {
        return Err(Refusal::Step { step, rolled_back }.into());
    }
    session
        .until_changed("to take the old token key out of use", TOKEN_KEYS, async |session| {
            Ok(cut_over::finish(session.conn, job.id, reason).await?)
        })
        .await?;
    info!("the old key makes no tokens any more");
    release(&mut session, job.id).await?;
    Ok(job.id)
}
