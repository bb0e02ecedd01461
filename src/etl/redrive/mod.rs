//! Dead letters that are events by today's rules: record → be covered by a checkpoint → fetch → open → parse → protect
//! → store and mark.
//!
//! In place: the event gets the dead letter's own create_date and message id, never a way through the queue, which
//! would give it a new one. Guaranteed: nothing is opened before a committed record names it, and, where policy asks
//! for checkpoints, before one covers that, which verifies where there is a key for it; an event is stored in the one
//! transaction that marks its dead letter, so a run that dies loses and doubles nothing, and two at once do
//! neither; what does not pass or does not open keeps its dead letter; memory holds one page, of 500 letters or some
//! 8 MiB. Not guaranteed: that a job is worked off to its end; what was recorded and has no outcome may have been
//! read.

mod page;
mod report;

use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel_async::AsyncConnection as _;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{debug, instrument, warn};
use uuid::Uuid;

pub use report::{Report, Unopened};

use super::error::EtlError;
use super::months::Months;
use super::outage::Outages;
use crate::aws::KeyWrapper;
use crate::crypto::checkpoint::CheckpointKey;
use crate::db::coverage::{self, Record};
use crate::db::hold::Hold;
use crate::db::redrive::{self, JOB_AGE, JOB_ROWS, Position, Selection};
use crate::db::sealing_keys::Seals;
use crate::db::{DbError, Fault, Pool, hold, login_events, vault};
use crate::domain::{AccessRefusal, VaultId};
use crate::keyring::{KeyLimits, KeyringError, Openers, SealingKeys, TokenKeys};
use page::Page;

/// Dead-letter keys that are kept unwrapped.
const KEYS: usize = 16;

/// What to redrive, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which dead letters.
    pub selection: Selection,
    /// Why, for the record: 1 to 1,000 characters.
    pub note: String,
    /// The most to try.
    pub limit: Option<u64>,
    /// How long KMS or PostgreSQL may be away before the run gives up.
    pub patience: Duration,
    /// How long one data key is used.
    pub key_limits: KeyLimits,
    /// What verifies the checkpoints that cover the jobs; `None`: they are not verified.
    pub checkpoint_key: Option<CheckpointKey>,
}

/// Redrives the dead letters of a selection, job by job, until none is left that it has not tried, or `stop` is
/// cancelled.
///
/// `pool` is under the role `pii_vault_redrive`. `report` is up to date after each page and when it ends, however it
/// ends; `progress` is called after each page.
///
/// # Errors
/// [`EtlError`]. Nothing is lost by any of them: the dead letters are still there, and the same run can be tried again.
#[instrument(name = "redrive", skip_all)]
pub async fn run<W: KeyWrapper>(
    wrapper: W,
    pool: Pool,
    options: Options,
    report: &mut Report,
    stop: CancellationToken,
    mut progress: impl FnMut(&Report),
) -> Result<(), EtlError> {
    let redrive = Redrive::new(Arc::new(wrapper), pool, options).await?;
    let mut left = redrive.options.limit.unwrap_or(u64::MAX);
    let mut after = None;
    while left > 0 && !stop.is_cancelled() {
        let most = u16::try_from(left).unwrap_or(u16::MAX).min(JOB_ROWS);
        let Some(job) = redrive.record(after, most).await? else { break };
        report.jobs.push(job.id.to_string());
        report.audit_seqs.push(job.seq);
        let selected_before = report.selected;
        let complete = redrive.work_off(&job, &mut after, report, &stop, &mut progress).await?;
        left = left.saturating_sub(report.selected - selected_before);
        if complete && job.rows < i32::from(most) {
            break;
        }
    }
    Ok(())
}

struct Redrive<W> {
    wrapper: Arc<W>,
    pool: Pool,
    options: Options,
    outages: Outages,
    vault: VaultId,
    token_keys: Mutex<Arc<TokenKeys>>,
    data_keys: SealingKeys<W>,
    openers: Mutex<Openers<W>>,
    months: Mutex<Months>,
}

/// A job that is recorded and armed.
struct Job {
    id: Uuid,
    seq: i64,
    rows: i32,
    recorded: Instant,
}

impl<W: KeyWrapper> Redrive<W> {
    async fn new(wrapper: Arc<W>, pool: Pool, options: Options) -> Result<Self, EtlError> {
        let outages = Outages::new(options.patience);
        let (vault, token_keys) = outages
            .wait_out(may_pass, || async {
                let mut conn = pool.get().await?;
                let vault = vault::id(&mut conn).await?;
                Ok::<_, EtlError>((vault, TokenKeys::load(&mut conn, &*wrapper, vault).await?))
            })
            .await?;
        let data_keys = SealingKeys::new(pool.clone(), wrapper.clone(), vault, Seals::Values, options.key_limits);
        let openers = Mutex::new(Openers::new(wrapper.clone(), vault, Seals::DeadLetters, KEYS));
        Ok(Self {
            wrapper,
            pool,
            options,
            outages,
            vault,
            token_keys: Mutex::new(Arc::new(token_keys)),
            data_keys,
            openers,
            months: Mutex::default(),
        })
    }

    async fn record(&self, after: Option<Position>, most: u16) -> Result<Option<Job>, EtlError> {
        let Options { selection, note, .. } = &self.options;
        // A record whose answer was lost stays, without outcomes, and another is made.
        let id = self.outages.wait_out(may_pass, || async {
            Ok::<_, EtlError>(redrive::record(&mut *self.pool.get().await?, note, selection, after, most).await?)
        });
        let Some(id) = id.await? else { return Ok(None) };
        let recorded = Instant::now();
        let armed = self
            .outages
            .wait_out(may_pass, || async { Ok::<_, EtlError>(redrive::arm(&mut *self.pool.get().await?, id).await?) });
        let armed = armed.await?;
        Ok(Some(Job { id, seq: armed.seq, rows: armed.row_count, recorded }))
    }

    /// Page by page to the end of the list (`true`), or until the run is told to stop or the job is halfway to being
    /// too old: the next one then goes on `after` what was settled.
    async fn work_off(
        &self,
        job: &Job,
        after: &mut Option<Position>,
        report: &mut Report,
        stop: &CancellationToken,
        progress: &mut impl FnMut(&Report),
    ) -> Result<bool, EtlError> {
        self.outages.wait_out(may_pass, || self.cover(job)).await?;
        let mut ordinal = 0;
        while !stop.is_cancelled() && job.recorded.elapsed() < JOB_AGE / 2 {
            let page = self.outages.wait_out(may_pass, || self.open_page(job.id, ordinal)).await?;
            let Some(page) = page else {
                report.passed_over(job.rows - ordinal, 0);
                progress(report);
                return Ok(true);
            };
            let days = page.events.iter().map(|event| event.create_date);
            self.months.lock().await.ensure(&self.pool, &self.outages, days).await?;
            let (hold, stored) = self.outages.wait_out(may_pass, || self.commit(job.id, &page)).await?;
            if hold != Hold::Held {
                self.renew_keys(hold, &page).await?;
                continue;
            }
            debug!(job = %job.id, letters = page.settled.len(), stored, "committed");
            report.passed_over(page.last - ordinal, page.settled.len());
            ordinal = page.last;
            *after = Some(page.position);
            page.tell(stored, report);
            progress(report);
        }
        Ok(false)
    }

    /// Before anything is fetched, or what came a moment later would not be verified.
    async fn cover(&self, job: &Job) -> Result<(), EtlError> {
        let coverage = coverage::of(&mut *self.pool.get().await?, Record::RedriveJob(job.id)).await?;
        let holds = coverage.holds(self.vault, job.seq, self.options.checkpoint_key.as_ref())?;
        holds.then_some(()).ok_or(EtlError::NoCheckpoint)
    }

    async fn open_page(&self, job: Uuid, after: i32) -> Result<Option<Page>, EtlError> {
        let letters = redrive::fetch(&mut *self.pool.get().await?, job, after).await?;
        self.protect(letters).await
    }

    /// Events and what became of their dead letters in one transaction; how many events were new.
    async fn commit(&self, job: Uuid, page: &Page) -> Result<(Hold, usize), EtlError> {
        let data_keys: Vec<_> = page.data_key.into_iter().collect();
        let mut conn = self.pool.get().await?;
        let committed = conn.transaction(async |conn| {
            let hold = hold::keys(conn, &data_keys, &[], &page.token_keys).await?;
            if hold != Hold::Held {
                return Ok::<_, DbError>((hold, 0));
            }
            let stored = login_events::insert(conn, &page.events).await?;
            redrive::settle(conn, job, &page.settled).await?;
            Ok((hold, stored))
        });
        Ok(committed.await?)
    }

    /// The page is not stored: its keys went out of use after it was protected. It is fetched and opened once more.
    async fn renew_keys(&self, hold: Hold, page: &Page) -> Result<(), EtlError> {
        warn!(?hold, "keys changed; the page is protected anew");
        match (hold, page.data_key) {
            (Hold::TokenKeysChanged, _) => {
                let keys = self.outages.wait_out(may_pass, || async {
                    Ok::<_, EtlError>(TokenKeys::load(&mut *self.pool.get().await?, &*self.wrapper, self.vault).await?)
                });
                *self.token_keys.lock().await = Arc::new(keys.await?);
            }
            (_, Some(key)) => self.data_keys.forget(key).await,
            (_, None) => {}
        }
        Ok(())
    }
}

/// Whether to wait, for a checkpoint too. Unlike in ingestion, a refusal by PostgreSQL is the end: somebody is there to
/// read it.
fn may_pass(error: &EtlError) -> bool {
    if error.refusal() == Some(AccessRefusal::NoCheckpoint) {
        return true;
    }
    match error {
        EtlError::Db(error) | EtlError::Key(KeyringError::Db(error)) => {
            error.is_transient() && error.fault() != Fault::Refused
        }
        EtlError::Key(error) => error.is_transient(),
        _ => false,
    }
}
