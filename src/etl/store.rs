use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use diesel_async::AsyncConnection as _;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, instrument, warn};

use super::error::EtlError;
use super::months::Months;
use super::outage::Outages;
use super::protect::{Protected, Protector, Row};
use super::summary::Counters;
use crate::aws::{KeyWrapper, ReceiptHandle};
use crate::db::dead_letters::NewDeadLetter;
use crate::db::hold::Hold;
use crate::db::login_events::NewLoginEvent;
use crate::db::{DbError, Pool, dead_letters, hold, login_events};
use crate::domain::KeyId;
use crate::keyring::{KeyringError, TokenKeys};

/// About how many bytes one transaction may carry.
const BATCH_BYTES: usize = 8 << 20;

/// The receipts of messages whose rows are committed. Only [`Writer`] makes it, and only it can be acknowledged.
pub(super) struct Committed {
    receipts: Vec<ReceiptHandle>,
}

impl Committed {
    pub(super) fn into_receipts(self) -> Vec<ReceiptHandle> {
        self.receipts
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

#[derive(Default)]
struct Batch {
    events: Vec<NewLoginEvent>,
    letters: Vec<NewDeadLetter>,
    receipts: Vec<ReceiptHandle>,
    bytes: usize,
}

impl<W: KeyWrapper> Writer<W> {
    /// Runs until the receivers have ended and everything that they sent is committed.
    ///
    /// Writers share the one receiving end: while one holds it to collect, the others write.
    #[instrument(name = "store", skip_all)]
    pub(super) async fn run(
        self,
        protected: Arc<Mutex<mpsc::Receiver<Vec<Protected>>>>,
        to_acknowledge: mpsc::Sender<Committed>,
    ) -> Result<(), EtlError> {
        let mut months = Months::default();
        loop {
            let collected = self.collect(&mut *protected.lock().await).await;
            let Some(batch) = collected else { return Ok(()) };
            let days = batch.events.iter().map(|event| event.create_date);
            months.ensure(&self.pool, &self.outages, days).await?;
            let (hold, stored) = self.outages.wait_out(DbError::is_transient, || self.commit(&batch)).await?;
            if hold != Hold::Held {
                self.give_up(&batch, hold).await?;
                continue;
            }
            debug!(events = batch.events.len(), dead_letters = batch.letters.len(), stored, "committed");
            self.counters.committed(
                stored,
                batch.events.len(),
                batch.letters.iter().map(|letter| letter.refusal.reason),
            );
            if to_acknowledge.send(Committed { receipts: batch.receipts }).await.is_err() {
                return Ok(());
            }
        }
    }

    /// The next batch: what comes within the linger, up to its size. `None` at the end.
    async fn collect(&self, protected: &mut mpsc::Receiver<Vec<Protected>>) -> Option<Batch> {
        let mut batch = Batch::default();
        batch.extend(protected.recv().await?);
        let deadline = Instant::now() + self.linger;
        while batch.receipts.len() < self.batch_size && batch.bytes < BATCH_BYTES {
            match timeout_at(deadline, protected.recv()).await {
                Ok(Some(more)) => batch.extend(more),
                Ok(None) | Err(_) => break,
            }
        }
        batch.sort();
        Some(batch)
    }

    /// Events and dead letters in one transaction; how many events were new.
    async fn commit(&self, batch: &Batch) -> Result<(Hold, usize), DbError> {
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

    /// The batch is not stored: its keys went out of use after it was protected. Its plaintext is gone, so its
    /// messages are left to be delivered again, and the next ones get the right keys.
    async fn give_up(&self, batch: &Batch, hold: Hold) -> Result<(), EtlError> {
        warn!(messages = batch.receipts.len(), ?hold, "keys changed; the messages stay in the queue and come again");
        self.counters.left(batch.receipts.len().try_into().unwrap_or(u64::MAX));
        match hold {
            Hold::Held => {}
            Hold::TokenKeysChanged => {
                let keys = self
                    .outages
                    .wait_out(KeyringError::may_pass, || async {
                        TokenKeys::load(&mut *self.pool.get().await?, &*self.wrapper, self.protector.vault).await
                    })
                    .await?;
                self.protector.set_token_keys(keys);
            }
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

impl Batch {
    fn extend(&mut self, protected: Vec<Protected>) {
        for Protected { row, receipt } in protected {
            self.bytes += row.size();
            self.receipts.push(receipt);
            match row {
                Row::Event(event) => self.events.push(*event),
                Row::DeadLetter(letter) => self.letters.push(letter),
            }
        }
    }

    /// By primary key: two writers that insert the same rows in different orders would wait for each other.
    fn sort(&mut self) {
        self.events.sort_unstable_by_key(NewLoginEvent::primary_key);
        self.letters.sort_unstable_by_key(NewDeadLetter::primary_key);
    }

    /// The token keys that all events of the batch were tokenised under; none where there is no event. `None` where
    /// some were tokenised before the keys changed and some after.
    fn token_keys(&self) -> Option<Vec<KeyId>> {
        let keys = |event: &NewLoginEvent| {
            event.slot_a.iter().chain(&event.slot_b).map(|tokens| tokens.key).collect::<Vec<_>>()
        };
        let mut all = self.events.iter().map(keys);
        let first = all.next().unwrap_or_default();
        all.all(|keys| keys == first).then_some(first)
    }
}

fn distinct(keys: impl Iterator<Item = KeyId>) -> Vec<KeyId> {
    keys.collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use time::Date;
    use time::macros::date;

    use super::*;
    use crate::crypto::{Ratchet, SecretKey, Tokenizer, ValueBinding, seal_value};
    use crate::db::login_events::EventTokens;
    use crate::domain::{BoundedText, ClientIp, DeviceId, EventId, Field, VaultId};

    fn event(number: u128, day: Date, token_keys: &[KeyId]) -> NewLoginEvent {
        let root = SecretKey::from_unwrapped(vec![1; 32]).unwrap();
        let (tokenizer, sealing_key) = (Tokenizer::new(&root), Ratchet::new(root).sealing_key());
        let (event, key) = (EventId(uuid::Uuid::from_u128(number)), KeyId(uuid::Uuid::nil()));
        let vault = VaultId(uuid::Uuid::nil());
        let seal = |field| {
            let binding = ValueBinding { vault, field, create_date: day, event, user_id: "u", key };
            seal_value(&sealing_key, &binding, "::").unwrap()
        };
        let tokens = |key: &KeyId| EventTokens {
            ip: tokenizer.ip(&ClientIp::parse("::".to_owned()).unwrap()),
            device_id: tokenizer.device_id(&DeviceId::parse("d".to_owned()).unwrap()),
            key: *key,
        };
        NewLoginEvent {
            create_date: day,
            event_id: event,
            user_id: BoundedText::parse("u".to_owned()).unwrap(),
            device_type: BoundedText::parse("ios".to_owned()).unwrap(),
            locale: None,
            app_version: BoundedText::parse("1".to_owned()).unwrap(),
            ip: seal(Field::Ip),
            device_id: seal(Field::DeviceId),
            data_key: key,
            slot_a: token_keys.first().map(tokens),
            slot_b: token_keys.get(1).map(tokens),
        }
    }

    fn batch(events: Vec<NewLoginEvent>) -> Batch {
        Batch { events, ..Batch::default() }
    }

    #[test]
    fn a_batch_is_sorted_by_primary_key() {
        let (one_day, next_day) = (date!(2025 - 12 - 31), date!(2026 - 01 - 01));
        let mut batch = batch(vec![event(1, next_day, &[]), event(3, one_day, &[]), event(2, one_day, &[])]);
        batch.sort();
        let order: Vec<_> = batch.events.iter().map(|event| event.event_id.0.as_u128()).collect();
        assert_eq!(order, [2, 3, 1]);
    }

    #[test]
    fn a_batch_from_before_and_after_a_change_of_token_keys_has_none() {
        let (day, one, two) = (date!(2026 - 01 - 01), KeyId::random(), KeyId::random());
        assert_eq!(batch(vec![]).token_keys(), Some(vec![]));
        let alike = batch(vec![event(1, day, &[one, two]), event(2, day, &[one, two])]);
        assert_eq!(alike.token_keys(), Some(vec![one, two]));
        for other in [&[one][..], &[two, one]] {
            assert_eq!(batch(vec![event(1, day, &[one, two]), event(2, day, other)]).token_keys(), None);
        }
    }
}
