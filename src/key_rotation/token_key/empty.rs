use tracing::info;
use uuid::Uuid;

use super::error::CutOverError;
use super::session::Session;
use super::{EVENTS, Progress};
use crate::db::rotation::Range;
use crate::db::rotation::token_key::cut_over;
use crate::domain::RotationStep;
use crate::key_rotation::{Hands, RotationError, Worker};

/// Empties the slot that is out of use, for [`crate::key_rotation::run`] under the owner's role. Opens nothing.
#[derive(Clone, Copy, Debug)]
pub struct Emptier;

impl Worker for Emptier {
    const STEP: RotationStep = RotationStep::Emptying;

    async fn work(&self, hands: &Hands, range: Range) -> Result<(), RotationError> {
        cut_over::empty(&mut *hands.pool.get().await?, hands.job, hands.runner, range).await?;
        Ok(())
    }
}

/// Takes away the rule and the indexes that the slot had which is to be emptied.
pub(super) async fn release<T: Fn(Progress)>(session: &mut Session<'_, T>, job: Uuid) -> Result<(), CutOverError> {
    let release = async |session: &mut Session<'_, T>| Ok(cut_over::release_slot(session.conn, job).await?);
    session.until_changed("to drop the indexes of the slot", EVENTS, release).await?;
    info!("the slot has no indexes any more");
    Ok(())
}
