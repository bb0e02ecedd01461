use std::time::Duration;

use tracing::info;

use super::error::{CutOverError, Refusal};
use super::trying::Trying;
use super::{Options, Progress, TokenJob};
use crate::db::Connection;
use crate::db::rotation::cut_over::{self, SlotChange, holders};
use crate::domain::TokenSlot;

const EVENTS: &[&str] = &["pii_vault.login_events"];

/// How many rows a refusal names.
const NAMED: i32 = 10;

/// Every row has new tokens when it returns, and none can lack them from then on.
pub(super) async fn prove_filled(
    conn: &mut Connection,
    job: &TokenJob,
    options: &Options,
    told: &impl Fn(Progress),
) -> Result<(), CutOverError> {
    if options.accept_unopened {
        cut_over::fill_unopened(conn, job.id).await?;
    }
    refuse_unfilled(conn, job).await?;
    let mut trying = Trying::new(options.patience);
    loop {
        match cut_over::keep_filled(conn, job.new_slot).await? {
            SlotChange::Done => break,
            SlotChange::LockedOut => {}
            other => return Err(Refusal::Changed(other).into()),
        }
        let holders = holders(conn, EVENTS).await?;
        if !trying.again().await {
            return Err(CutOverError::InTheWay { what: "to keep the new slot filled", holders });
        }
        told(Progress::Waiting(holders));
    }
    info!("no new row can lack the new tokens");
    let mut trying = Trying::new(options.patience);
    loop {
        let (change, verified, total) = cut_over::verify_filled(conn, job.new_slot).await?;
        told(Progress::Verified(verified, total));
        match change {
            // The last call finds nothing left to look at.
            SlotChange::Done if verified == total => return Ok(()),
            SlotChange::Done => trying = Trying::new(options.patience),
            SlotChange::LockedOut => {
                let holders = holders(conn, EVENTS).await?;
                if !trying.again().await {
                    return Err(CutOverError::InTheWay { what: "to look at all rows", holders });
                }
                told(Progress::Waiting(holders));
            }
            SlotChange::NotFilled => {
                refuse_unfilled(conn, job).await?;
                return Err(Refusal::Changed(change).into());
            }
            other => return Err(Refusal::Changed(other).into()),
        }
    }
}

/// New rows may lack the slot when it returns: before ingestion leaves it empty.
pub(super) async fn let_unfilled(
    conn: &mut Connection,
    slot: TokenSlot,
    patience: Duration,
    told: &impl Fn(Progress),
) -> Result<(), CutOverError> {
    let mut trying = Trying::new(patience);
    loop {
        match cut_over::let_unfilled(conn, slot).await? {
            SlotChange::Done => return Ok(()),
            SlotChange::LockedOut => {}
            other => return Err(Refusal::Changed(other).into()),
        }
        let holders = holders(conn, EVENTS).await?;
        if !trying.again().await {
            return Err(CutOverError::InTheWay { what: "to let rows lack the new tokens again", holders });
        }
        told(Progress::Waiting(holders));
    }
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
