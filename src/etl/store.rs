use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use diesel_async::AsyncConnection as _;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, instrument, warn};

use super::byte_budget::Room;
use super::error::EtlError;
use super::months::Months;
use super::outage::Outages;
use super::protect::{Protected, Protector, Row};
use super::summary::Counters;
use crate::aws::KeyWrapper;
use crate::db::dead_letters::NewDeadLetter;
use crate::db::hold::Hold;
use crate::db::login_events::{EventTokens, NewLoginEvent};
use crate::db::{DbError, Pool, dead_letters, hold, login_events};
use crate::domain::KeyId;
use crate::keyring::{KeyringError, TokenKeys};

/// About how many bytes one transaction may carry.
const BATCH_BYTES: usize = 8 << 20;

/// What became of a batch, and the receipts of its messages.
pub(super) enum Settled<R> {
    /// Its rows are committed.
    Committed(Committed<R>),
    /// It was not stored, and its plaintext is gone.
    GivenUp(Vec<R>),
}

/// The receipts of messages whose rows are committed. Only [`Writer`] makes it, and only it can be acknowledged.
pub(super) struct Committed<R>(Vec<R>);

impl<R> Committed<R> {
    pub(super) fn into_receipts(self) -> Vec<R> {
        self.0
    }
}

impl<R> Settled<R> {
    /// The same in parts of up to `size` messages.
    pub(super) fn split(self, size: usize) -> Vec<Self> {
        match self {
            Self::Committed(Committed(all)) => parts(all, size).map(|part| Self::Committed(Committed(part))).collect(),
            Self::GivenUp(all) => parts(all, size).map(Self::GivenUp).collect(),
        }
    }
}

/// Collects batches and commits them.
pub(super) struct Writer<W> {
    pub(super) pool: Pool,
    pub(super) protector: Arc<Protector<W>>,
    pub(super) wrapper: Arc<W>,
    pub(super) counters: Arc<Counters>,
    pub(super) batch_size: usize,
    pub(super) linger: Duration,
    pub(super) outages: Arc<Outages>,
}

struct Batch<R> {
    events: Vec<NewLoginEvent>,
    letters: Vec<NewDeadLetter>,
    receipts: Vec<R>,
    rooms: Vec<Room>,
    bytes: usize,
}

impl<W: KeyWrapper> Writer<W> {
    /// Runs until the receivers have ended and everything that they sent is committed.
    ///
    /// Writers share the one receiving end: while one holds it to collect, the others write.
    #[instrument(name = "store", skip_all)]
    pub(super) async fn run<R: Send + Sync>(
        self,
        protected: Arc<Mutex<mpsc::Receiver<Protected<R>>>>,
        to_settle: mpsc::Sender<Settled<R>>,
    ) -> Result<(), EtlError> {
        let mut months = Months::default();
        loop {
            let collected = self.collect(&mut *protected.lock().await).await;
            let Some(mut batch) = collected else { return Ok(()) };
            let days = batch.events.iter().map(|event| event.create_date);
            months.ensure(&self.pool, &self.outages, days).await?;
            let (mut hold, mut stored) = self.outages.wait_out(DbError::is_transient, || self.commit(&batch)).await?;
            if hold == Hold::TokenKeysChanged && self.drop_token_keys(&mut batch).await? {
                (hold, stored) = self.outages.wait_out(DbError::is_transient, || self.commit(&batch)).await?;
            }
            let settled = if hold == Hold::Held {
                debug!(events = batch.events.len(), dead_letters = batch.letters.len(), stored, "committed");
                self.counters.committed(
                    stored,
                    batch.events.len(),
                    batch.letters.iter().map(|letter| letter.refusal.reason),
                );
                Settled::Committed(Committed(batch.into_receipts()))
            } else {
                self.give_up(&batch, hold).await?;
                Settled::GivenUp(batch.into_receipts())
            };
            if to_settle.send(settled).await.is_err() {
                return Ok(());
            }
        }
    }

    /// The next batch: what comes within the linger, up to its size. `None` at the end.
    async fn collect<R>(&self, protected: &mut mpsc::Receiver<Protected<R>>) -> Option<Batch<R>> {
        let mut batch =
            Batch { events: Vec::new(), letters: Vec::new(), receipts: Vec::new(), rooms: Vec::new(), bytes: 0 };
        batch.extend(protected.recv().await?);
        let deadline = Instant::now() + self.linger;
        while batch.receipts.len() < self.batch_size && batch.bytes < BATCH_BYTES {
            match timeout_at(deadline, protected.recv()).await {
                Ok(Some(more)) => batch.extend(more),
                Ok(None) | Err(_) => break,
            }
        }
        batch.sort();
        if let Some(keys) = batch.token_keys() {
            batch.keep_token_keys(&keys);
        }
        Some(batch)
    }

    /// Events and dead letters in one transaction; how many events were new.
    async fn commit<R: Sync>(&self, batch: &Batch<R>) -> Result<(Hold, usize), DbError> {
        let Some(token_keys) = batch.token_keys() else { return Ok((Hold::TokenKeysChanged, 0)) };
        let data_keys = distinct(batch.events.iter().map(|event| event.data_key));
        let letter_keys = distinct(batch.letters.iter().map(|letter| letter.key));
        self.pool
            .get()
            .await?
            .transaction(async |conn| {
                let hold = hold::keys(conn, &data_keys, &letter_keys, &token_keys).await?;
                if hold != Hold::Held {
                    return Ok((hold, 0));
                }
                let stored = login_events::insert(conn, &batch.events).await?;
                dead_letters::insert(conn, &batch.letters).await?;
                Ok((hold, stored))
            })
            .await
    }

    /// Loads the token keys anew. Whether the batch has tokens of all of them: then those of others are gone from it,
    /// and it may be stored.
    async fn drop_token_keys<R: Sync>(&self, batch: &mut Batch<R>) -> Result<bool, EtlError> {
        let keys = self
            .outages
            .wait_out(KeyringError::may_pass, || async {
                TokenKeys::load(&mut *self.pool.get().await?, &*self.wrapper, self.protector.vault).await
            })
            .await?;
        let in_use = keys.ids();
        self.protector.set_token_keys(keys);
        let has_all = batch.token_keys().is_some_and(|own| in_use.iter().all(|key| own.contains(key)));
        if has_all {
            batch.keep_token_keys(&in_use);
        }
        Ok(has_all)
    }

    /// The batch is not stored: its keys went out of use after it was protected. Its plaintext is gone, so its
    /// messages must come from their source again; what comes next gets the right keys.
    async fn give_up<R: Sync>(&self, batch: &Batch<R>, hold: Hold) -> Result<(), EtlError> {
        warn!(messages = batch.receipts.len(), ?hold, "keys changed meanwhile; not stored, these must come again");
        self.counters.left(batch.receipts.len().try_into().unwrap_or(u64::MAX));
        match hold {
            // Loaded anew already, where it is for them.
            Hold::Held | Hold::TokenKeysChanged => {}
            Hold::SealingKeyNotActive => {
                for event in &batch.events {
                    self.protector.data_keys.forget(event.data_key).await;
                }
                for letter in &batch.letters {
                    self.protector.dead_letter_keys.forget(letter.key).await;
                }
            }
        }
        Ok(())
    }
}

impl<R> Batch<R> {
    fn extend(&mut self, Protected { messages, room }: Protected<R>) {
        self.rooms.push(room);
        for (row, receipt) in messages {
            self.bytes += row.size();
            self.receipts.push(receipt);
            match row {
                Row::Event(event) => self.events.push(*event),
                Row::DeadLetter(letter) => self.letters.push(letter),
            }
        }
    }

    /// Frees everything else, the room that it took included.
    fn into_receipts(self) -> Vec<R> {
        self.receipts
    }

    /// By primary key: two writers that insert the same rows in different orders would wait for each other.
    fn sort(&mut self) {
        self.events.sort_unstable_by_key(NewLoginEvent::primary_key);
        self.letters.sort_unstable_by_key(NewDeadLetter::primary_key);
    }

    /// The token keys that all events of the batch were tokenised under; none where there is no event. `None` where
    /// events have no key in common.
    fn token_keys(&self) -> Option<Vec<KeyId>> {
        let keys = |event: &NewLoginEvent| event.slots().map(|tokens| tokens.key).collect::<Vec<_>>();
        let mut all = self.events.iter();
        let Some(first) = all.next().map(keys) else { return Some(Vec::new()) };
        let common = all.fold(first, |common, event| {
            let own = keys(event);
            common.into_iter().filter(|key| own.contains(key)).collect()
        });
        Some(common).filter(|common| !common.is_empty())
    }

    /// Takes away the tokens of other keys than these. Where some events were tokenised before the keys changed and
    /// some after, back-fill makes them anew; where a key went out of use, nobody needs them.
    fn keep_token_keys(&mut self, keys: &[KeyId]) {
        let is_other = |tokens: &mut EventTokens| !keys.contains(&tokens.key);
        for event in &mut self.events {
            event.slot_a.take_if(is_other);
            event.slot_b.take_if(is_other);
        }
    }
}

fn distinct(keys: impl Iterator<Item = KeyId>) -> Vec<KeyId> {
    keys.collect::<BTreeSet<_>>().into_iter().collect()
}

fn parts<R>(all: Vec<R>, size: usize) -> impl Iterator<Item = Vec<R>> {
    let mut all = all.into_iter();
    std::iter::from_fn(move || Some(all.by_ref().take(size).collect::<Vec<_>>()).filter(|part| !part.is_empty()))
}

#[cfg(test)]
mod tests;
