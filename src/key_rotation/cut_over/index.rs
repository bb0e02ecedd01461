use std::time::Duration;

use super::Progress;
use super::error::{CutOverError, Refusal};
use super::trying::Trying;
use crate::db::rotation::cut_over::{Holder, SlotChange, holders, next_index, run_index, snapshots, still_held};
use crate::db::{Connection, DbError, Fault};
use crate::domain::TokenSlot;

/// How often an index of the whole table may be dropped and built anew: for each column twice.
const MOST_BEGUN_ANEW: u32 = 4;

/// Both columns of the slot are indexed when it returns, in every partition, those included that are made meanwhile.
pub(super) async fn index(
    conn: &mut Connection,
    slot: TokenSlot,
    patience: Duration,
    told: &impl Fn(Progress),
) -> Result<(), CutOverError> {
    let (mut trying, mut begun_anew) = (Trying::new(patience), 0);
    loop {
        let step = next_index(conn, slot).await?;
        told(Progress::Indexed(step.built.unsigned_abs(), step.total.unsigned_abs()));
        let Some(statement) = step.statement else { return Ok(()) };
        // Of the whole table: where that does not help, somebody is to look at it.
        begun_anew += u32::from(statement.starts_with("DROP INDEX pii_vault."));
        if begun_anew > MOST_BEGUN_ANEW {
            return Err(Refusal::Changed(SlotChange::NotIndexed).into());
        }
        match run_index(conn, &statement, trying.left()).await {
            Ok(()) => trying = Trying::new(patience),
            // Most often a lock; what else it is, the server's log says.
            Err(error) if error.fault() == Fault::Refused || error.fault() == Fault::Conflict => {
                let holders = in_the_way(conn).await?;
                if !trying.again().await {
                    return Err(match holders.is_empty() {
                        true => error.into(),
                        false => CutOverError::InTheWay { what: "to index the new slot", holders },
                    });
                }
                told(Progress::Waiting(holders));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Those with locks; a concurrent build waits for snapshots as well.
async fn in_the_way(conn: &mut Connection) -> Result<Vec<Holder>, DbError> {
    let with_locks = holders(conn, &["pii_vault.login_events"]).await?;
    if !with_locks.is_empty() {
        return Ok(with_locks);
    }
    let now = snapshots(conn).await?;
    still_held(conn, &now).await
}
