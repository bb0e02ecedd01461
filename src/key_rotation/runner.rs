use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, instrument, warn};
use uuid::Uuid;

use super::error::RotationError;
use super::pace::Pace;
use super::seen::keep_seen;
use crate::db::rotation::{self, Counts, Range};
use crate::db::{DbError, Pool};
use crate::domain::RotationStep;
use crate::patience::Patience;

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Rows or keys of a page at most, hence of a transaction.
    pub batch: i32,
    /// Pages that are worked on at once.
    pub workers: usize,
    /// Rows or keys a second, at most.
    pub rate: Option<NonZeroU32>,
    /// How long KMS or PostgreSQL may be away before the run gives up.
    pub patience: Patience,
}

impl Options {
    /// A page is a second of its rate at most: so nobody waits for longer before looking whether the job is paused, and
    /// no second has more than its share.
    #[must_use]
    pub fn page(&self) -> i32 {
        self.rate.map_or(self.batch, |rate| self.batch.min(i32::try_from(rate.get()).unwrap_or(i32::MAX)))
    }
}

/// How a run ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The job is at this step: nothing is left to do in the one before it.
    Reached(RotationStep),
    /// Somebody paused the job.
    Paused,
    /// The run was told to stop. The pages in hand were settled.
    Stopped,
}

/// Who works, on what.
#[derive(Clone)]
pub struct Hands {
    /// The job.
    pub job: Uuid,
    /// The runner, anew for each run.
    pub runner: Uuid,
    /// Connections under the role of the job.
    pub pool: Pool,
    /// Cancelled when the run is to end: a page may then be settled in part.
    pub stop: CancellationToken,
}

/// What is done to the rows or keys of a page. Done twice to the same page, it changes nothing the second time.
pub trait Worker: Send + Sync + 'static {
    /// The step of a job that this is the work of.
    const STEP: RotationStep = RotationStep::Work;

    /// Changes the rows or keys of `range` that are left to do, and settles them in the same transaction.
    fn work(&self, hands: &Hands, range: Range) -> impl Future<Output = Result<(), RotationError>> + Send;
}

/// Works on a recorded job until nothing is left, somebody pauses it, or `stop` is cancelled.
///
/// `progress` is called after each claim, with the counts of the whole job. The last counts are returned too.
///
/// # Errors
/// [`RotationError`]. Pages that were settled are done; the same run can be tried again.
#[instrument(name = "rotation", skip_all, fields(job = %job))]
pub async fn run<W: Worker>(
    pool: &Pool,
    job: Uuid,
    worker: W,
    options: Options,
    stop: &CancellationToken,
    progress: impl Fn(Counts) + Send + Sync + 'static,
) -> Result<(Ending, Counts), RotationError> {
    let stop = stop.child_token();
    let hands = Hands { job, runner: Uuid::new_v4(), pool: pool.clone(), stop: stop.clone() };
    let arm = || async { Ok(rotation::arm(&mut *pool.get().await?, job, hands.runner).await?) };
    let may_pass = |error: &RotationError| error.may_pass() && !stop.is_cancelled();
    match options.patience.wait_out(may_pass, || (), arm).await {
        Err(error) if stop.is_cancelled() && error.may_pass() => return Ok((Ending::Stopped, Counts::default())),
        armed => armed?,
    }
    let seen = keep_seen(hands.clone());
    let run = Arc::new(Run {
        hands: hands.clone(),
        worker,
        options,
        pace: Pace::new(options.rate),
        stop,
        in_hand: RwLock::new(()),
        worked: AtomicBool::new(false),
        in_vain: AtomicU32::new(0),
        progress,
    });
    let mut workers = JoinSet::new();
    for _ in 0..options.workers.max(1) {
        workers.spawn(run.clone().work_off());
    }
    let mut ended = Ok((Ending::Stopped, Counts::default()));
    while let Some(joined) = workers.join_next().await {
        let one = joined.unwrap_or(Err(RotationError::Task));
        match (&ended, &one) {
            (Err(_), _) | (Ok((Ending::Reached(_) | Ending::Paused, _)), Ok((Ending::Stopped, _))) => {}
            _ => ended = one,
        }
        if ended.is_err() {
            run.stop.cancel();
        }
    }
    // A claim tells what was settled before it; the last page came after.
    if let Ok((_, last)) = &mut ended
        && let Ok(mut conn) = pool.get().await
        && let Ok(now) = rotation::counts(&mut conn, job).await
    {
        *last = now;
    }
    drop(seen);
    // What is left of a runner that cannot say so is not seen any more, and that is all.
    let left: Result<(), DbError> = async { rotation::leave(&mut *pool.get().await?, job, hands.runner).await }.await;
    if let Err(error) = left {
        warn!(%error, "the job does not know that this runner has gone");
    }
    ended
}

struct Run<W, P> {
    hands: Hands,
    worker: W,
    options: Options,
    pace: Pace,
    stop: CancellationToken,
    // Read by who has a page, written by who waits for all of them.
    in_hand: RwLock<()>,
    // A page, so that who was asked for its keys has answered before.
    worked: AtomicBool,
    // Claims since the last page: what they wait for is not to be held up by asking.
    in_vain: AtomicU32,
    progress: P,
}

impl<W: Worker, P: Fn(Counts) + Send + Sync> Run<W, P> {
    fn may_pass(&self, error: &RotationError) -> bool {
        error.may_pass_amid_work(self.worked.load(Ordering::Relaxed))
    }

    /// Whether an outage is not waited out because the run is to end: what was claimed is left for the next pass.
    fn is_let_go(&self, error: &RotationError) -> bool {
        self.stop.is_cancelled() && self.may_pass(error)
    }

    async fn work_off(self: Arc<Self>) -> Result<(Ending, Counts), RotationError> {
        let Hands { job, runner, pool, .. } = &self.hands;
        let may_pass = |error: &RotationError| self.may_pass(error) && !self.stop.is_cancelled();
        let mut counts = Counts::default();
        while !self.stop.is_cancelled() {
            // Before anything is claimed: what waits for its turn is still there for others.
            let turn = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                turn = self.pace.turn() => turn,
            };
            let in_hand = self.in_hand.read().await;
            let claim =
                || async { Ok(rotation::claim(&mut *pool.get().await?, *job, *runner, self.options.page()).await?) };
            let claim = match self.options.patience.wait_out(may_pass, || (), claim).await {
                Err(error) if self.is_let_go(&error) => break,
                claim => claim?,
            };
            counts = claim.counts;
            (self.progress)(counts);
            if claim.paused {
                return Ok((Ending::Paused, counts));
            }
            match claim.range {
                _ if claim.step.is_work() && claim.step != W::STEP => return Err(RotationError::Over),
                Some(range) if range.rows > 0 => {
                    turn.take(range.rows);
                    self.in_vain.store(0, Ordering::Relaxed);
                    match self.options.patience.wait_out(may_pass, || (), || self.worker.work(&self.hands, range)).await
                    {
                        Err(error) if self.is_let_go(&error) => break,
                        // The next claim says what became of it.
                        Err(error) if error.is_over() => continue,
                        worked => worked?,
                    }
                    self.worked.store(true, Ordering::Relaxed);
                    debug!(rows = range.rows, "settled");
                }
                Some(_) => {}
                None if claim.step.is_work() => {
                    // What the workers of this run still have would be handed out once more. Those of other runs may
                    // too.
                    drop((turn, in_hand));
                    let _no_other = self.in_hand.write().await;
                    let doublings = self.in_vain.fetch_add(1, Ordering::Relaxed).min(4);
                    tokio::select! {
                        () = tokio::time::sleep(Duration::from_millis(50 << doublings)) => {}
                        () = self.stop.cancelled() => {}
                    }
                }
                None => return Ok((Ending::Reached(claim.step), counts)),
            }
        }
        Ok((Ending::Stopped, counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_a_second_of_its_rate_at_most() {
        let page = |rate, batch| {
            let rate = NonZeroU32::new(rate);
            Options { batch, workers: 2, rate, patience: Patience(Duration::ZERO) }.page()
        };
        assert_eq!(page(0, 500), 500);
        assert_eq!(page(1, 500), 1);
        assert_eq!(page(200, 500), 200);
        assert_eq!(page(u32::MAX, 10_000), 10_000);
    }
}
