use std::time::Duration;

use serde_json::json;
use tracing::{info, instrument};
use uuid::Uuid;

use super::error::{CutOverError, Refusal};
use super::fill::prove_filled;
use super::index::index;
use super::session::Session;
use super::snapshot::await_older;
use super::{Progress, TokenJob, VIEW_AND_KEYS, unfinished};
use crate::db::rotation::token_key::cut_over::{self, SlotChange, may_replace_view};
use crate::db::rotation::token_key::{TokenRefusal, TokenReport, report};
use crate::db::{Connection, DbError, Role, Server};
use crate::domain::RotationStep;

/// How to cut over.
#[derive(Clone, Debug)]
pub struct CutOverOptions {
    /// Why; the job has a reason of its own.
    pub reason: Option<String>,
    /// Also where rows have old tokens that are not those of their values.
    pub accept_mismatches: bool,
    /// Also where rows do not open, and get tokens that stand in.
    pub accept_unopened: bool,
    /// How long others may be in the way of each step.
    pub patience: Duration,
}

/// What was done.
#[derive(Clone, Debug)]
pub struct CutOver {
    /// The job.
    pub job: Uuid,
    /// The key whose tokens showed.
    pub old_key: Option<Uuid>,
    /// The key whose tokens show.
    pub new_key: Option<Uuid>,
    /// What was compared; nothing where it was cut over before.
    pub compared: Option<TokenReport>,
}

/// Makes the view show the tokens of the new key. Until it is finished, it can be rolled back.
///
/// # Errors
/// [`CutOverError`].
#[instrument(name = "cut-over", skip_all)]
pub async fn cut_over(
    server: &Server,
    options: &CutOverOptions,
    told: impl Fn(Progress),
) -> Result<CutOver, CutOverError> {
    let conn = &mut server.connect(Role::Owner).await?;
    let mut session = Session { conn, patience: options.patience, told: &told };
    let job = unfinished(session.conn).await?;
    let TokenJob { id, job: row, .. } = &job;
    let mut done = CutOver { job: *id, old_key: row.old_keys.first().copied(), new_key: row.new_key, compared: None };
    match row.step {
        RotationStep::Filled => {}
        RotationStep::CutOver => return Ok(done),
        step => return Err(Refusal::Step { step, rolled_back: row.rolled_back }.into()),
    }
    if !may_replace_view(session.conn).await? {
        return Err(Refusal::View.into());
    }
    if options.accept_unopened {
        cut_over::fill_unopened(session.conn, *id).await?;
    }
    prove_filled(&mut session, &job).await?;
    info!("every row has new tokens");
    index(&mut session, job.new_slot).await?;
    info!("the new tokens are indexed");
    told(Progress::Comparing);
    let compared = compare(session.conn, &job, options).await?;
    done.compared = Some(compared);
    info!("equal values are equal under both keys");
    await_older(&mut session).await?;
    info!("nobody has an older snapshot");
    show(&mut session, &job, options.reason.as_deref(), &compared).await?;
    Ok(done)
}

/// By what `verify` goes by, or it would find wanting what is cut over. Ingestion goes on: nothing is locked.
async fn compare(conn: &mut Connection, job: &TokenJob, options: &CutOverOptions) -> Result<TokenReport, CutOverError> {
    let mut tries = 3;
    let compared = loop {
        if options.accept_unopened {
            cut_over::fill_unopened(conn, job.id).await?;
        }
        let compared = match report(conn, job.id).await? {
            Ok(compared) => compared,
            Err(TokenRefusal::NotFilled) => return Err(Refusal::Changed(SlotChange::OtherStep).into()),
            Err(_) => return Err(DbError::unreadable("comparing tokens").into()),
        };
        tries -= 1;
        // A row of a value may have come since another of it got a token that stands in.
        if tries == 0 || compared.stand_ins == 0 || !options.accept_unopened || compared.shows_the_same() {
            break compared;
        }
    };
    let other = compared.only_old + compared.other_keys;
    if other > 0 {
        return Err(Refusal::Keys(other.unsigned_abs()).into());
    }
    if !compared.shows_the_same() {
        return Err(Refusal::Groups.into());
    }
    if mismatched(&compared) > 0 && !options.accept_mismatches {
        return Err(Refusal::Mismatched(mismatched(&compared).unsigned_abs()).into());
    }
    if compared.stand_ins > 0 && !options.accept_unopened {
        return Err(Refusal::Unopened(compared.stand_ins.unsigned_abs()).into());
    }
    Ok(compared)
}

/// Also rows whose old tokens somebody took away: there is no other way to an end for them, as a row has tokens.
fn mismatched(compared: &TokenReport) -> i64 {
    compared.mismatched + compared.only_new
}

async fn show<T: Fn(Progress)>(
    session: &mut Session<'_, T>,
    job: &TokenJob,
    reason: Option<&str>,
    compared: &TokenReport,
) -> Result<(), CutOverError> {
    let details = json!({
        "rows": compared.row_count,
        "distinct": { "ip": compared.ip_pairs, "device_id": compared.device_id_pairs },
        "mismatched": mismatched(compared),
        "unopened": compared.stand_ins,
    })
    .to_string();
    session
        .until_changed("to replace the view user_logins", VIEW_AND_KEYS, async |session| {
            Ok(cut_over::cut_over(session.conn, job.id, job.new_slot, reason, &details).await?)
        })
        .await
}
