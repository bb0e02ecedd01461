use tracing::info;

use super::error::{CutOverError, Refusal};
use super::session::Session;
use super::{EVENTS, Progress, TokenJob};
use crate::db::Connection;
use crate::db::rotation::token_key::cut_over::{self, SlotChange};
use crate::domain::TokenSlot;

/// How many rows a refusal names.
const NAMED: i32 = 10;

/// Every row has new tokens when it returns, and none can lack them from then on.
pub(super) async fn prove_filled<T: Fn(Progress)>(
    session: &mut Session<'_, T>,
    job: &TokenJob,
) -> Result<(), CutOverError> {
    refuse_unfilled(session.conn, job).await?;
    session
        .until_changed("to keep the new slot filled", EVENTS, async |session| {
            Ok(cut_over::keep_filled(session.conn, job.new_slot).await?)
        })
        .await?;
    info!("no new row can lack the new tokens");
    let mut is_whole = false;
    while !is_whole {
        session
            .until_changed("to look at all rows", EVENTS, async |session| {
                let (change, verified, total) = cut_over::verify_filled(session.conn, job.new_slot).await?;
                (session.told)(Progress::Verified(verified, total));
                if change == SlotChange::NotFilled {
                    refuse_unfilled(session.conn, job).await?;
                }
                // The last call finds nothing left to look at.
                is_whole = verified == total;
                Ok(change)
            })
            .await?;
    }
    Ok(())
}

/// New rows may lack the slot when it returns: before ingestion leaves it empty.
pub(super) async fn let_unfilled<T: Fn(Progress)>(
    session: &mut Session<'_, T>,
    slot: TokenSlot,
) -> Result<(), CutOverError> {
    session
        .until_changed("to let rows lack the new tokens again", EVENTS, async |session| {
            Ok(cut_over::let_unfilled(session.conn, slot).await?)
        })
        .await
}

async fn refuse_unfilled(conn: &mut Connection, job: &TokenJob) -> Result<(), CutOverError> {
    let lacking = cut_over::unfilled(conn, job.id, NAMED).await?;
    if lacking.rows > lacking.set_aside {
        cut_over::fill_again(conn, job.id).await?;
        return Err(Refusal::Unfilled(lacking).into());
    }
    if lacking.rows > 0 {
        return Err(Refusal::SetAside(lacking).into());
    }
    Ok(())
}
