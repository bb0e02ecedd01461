use super::error::{CutOverError, Refusal};
use super::session::Session;
use super::{EVENTS, Progress};
use crate::db::rotation::token_key::cut_over::{
    Holder, SlotChange, give_turn, holders, next_index, run_index, snapshots, still_held, take_turn, turn_holders,
};
use crate::db::{Connection, DbError, Fault};
use crate::domain::TokenSlot;

/// How often an index of the whole table may be dropped and built anew: for each column twice.
const MOST_BEGUN_ANEW: u32 = 4;

/// Both columns of the slot are indexed when it returns, in every partition, those included that are made meanwhile.
pub(super) async fn index<T: Fn(Progress)>(session: &mut Session<'_, T>, slot: TokenSlot) -> Result<(), CutOverError> {
    let take = async |session: &mut Session<'_, T>| match take_turn(session.conn).await? {
        true => Ok(()),
        false => {
            let holders = turn_holders(session.conn).await?;
            Err(CutOverError::InTheWay { what: "to index the new slot", holders })
        }
    };
    session.until_done(take).await?;
    build(session, slot).await?;
    // Where it fails the session ends, and its turn with it.
    Ok(give_turn(session.conn).await?)
}

async fn build<T: Fn(Progress)>(session: &mut Session<'_, T>, slot: TokenSlot) -> Result<(), CutOverError> {
    let (mut is_indexed, mut begun_anew) = (false, 0);
    while !is_indexed {
        let next = async |session: &mut Session<'_, T>| {
            let step = next_index(session.conn, slot).await?;
            (session.told)(Progress::Indexed(step.built.unsigned_abs(), step.total.unsigned_abs()));
            let Some(statement) = step.statement else { return Ok(true) };
            // Of the whole table: where that does not help, somebody is to look at it.
            begun_anew += u32::from(statement.starts_with("DROP INDEX pii_vault."));
            if begun_anew > MOST_BEGUN_ANEW {
                return Err(Refusal::Changed(SlotChange::NotIndexed).into());
            }
            match run_index(session.conn, &statement, session.patience).await {
                Ok(()) => Ok(false),
                Err(error) if matches!(error.fault(), Fault::Refused | Fault::Conflict) => {
                    let holders = in_the_way(session.conn).await?;
                    Err(match holders.is_empty() {
                        true => CutOverError::Unexplained(error),
                        false => CutOverError::InTheWay { what: "to index the new slot", holders },
                    })
                }
                Err(error) => Err(error.into()),
            }
        };
        is_indexed = session.until_done(next).await?;
    }
    Ok(())
}

/// Those with locks; a concurrent build waits for snapshots as well.
async fn in_the_way(conn: &mut Connection) -> Result<Vec<Holder>, DbError> {
    let with_locks = holders(conn, EVENTS).await?;
    if !with_locks.is_empty() {
        return Ok(with_locks);
    }
    let now = snapshots(conn).await?;
    still_held(conn, &now).await
}
