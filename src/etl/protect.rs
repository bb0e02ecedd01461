use std::sync::{Arc, RwLock};

use zeroize::Zeroizing;

use super::byte_budget::Room;
use super::error::EtlError;
use super::outage::Outages;
use crate::aws::KeyWrapper;
use crate::crypto::{DeadLetterBinding, RandomnessError, ValueBinding, seal_dead_letter, seal_value};
use crate::db::dead_letters::NewDeadLetter;
use crate::db::login_events::{EventTokens, NewLoginEvent};
use crate::domain::{EventId, Field, LoginEvent, Refusal, VaultId};
use crate::keyring::{SealingKeys, StepKey, TokenKey, TokenKeys};

/// What came in, wherever from.
pub(super) struct Incoming {
    pub(super) id: EventId,
    pub(super) create_date: time::Date,
    pub(super) body: Zeroizing<String>,
    /// Why it is no event, where the source knows that already.
    pub(super) refusal: Option<Refusal>,
}

/// Messages without their plaintext, and the room that they take.
pub(super) struct Protected<R> {
    pub(super) messages: Vec<(Row, R)>,
    pub(super) room: Room,
}

pub(super) enum Row {
    Event(Box<NewLoginEvent>),
    DeadLetter(NewDeadLetter),
}

impl Row {
    /// About how much memory it takes: only a dead letter's body has no bound of its own.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Event(_) => 1024,
            Self::DeadLetter(letter) => letter.body.as_bytes().len(),
        }
    }
}

/// Tokenises and seals.
pub(super) struct Protector<W> {
    pub(super) vault: VaultId,
    pub(super) token_keys: RwLock<Arc<TokenKeys>>,
    pub(super) data_keys: SealingKeys<W>,
    pub(super) dead_letter_keys: SealingKeys<W>,
}

impl<W: KeyWrapper> Protector<W> {
    /// Protects what came in, and waits out a KMS or a database that is away meanwhile.
    pub(super) async fn protect_all<R>(
        &self,
        (incoming, receipts): (Vec<Incoming>, Vec<R>),
        room: Room,
        outages: &Outages,
    ) -> Result<Protected<R>, EtlError> {
        let may_pass = |error: &EtlError| matches!(error, EtlError::Key(key) if key.may_pass());
        let rows = outages.wait_out(may_pass, || self.protect(&incoming)).await?;
        Ok(Protected { messages: rows.into_iter().zip(receipts).collect(), room })
    }

    /// Protects what came in: a row for each, in the same order.
    ///
    /// # Errors
    /// [`EtlError`] where a key is not to be had; the plaintext is then still in `incoming`.
    async fn protect(&self, incoming: &[Incoming]) -> Result<Vec<Row>, EtlError> {
        let parsed: Vec<_> = incoming
            .iter()
            .map(|incoming| incoming.refusal.map_or_else(|| LoginEvent::parse(&incoming.body), Err))
            .collect();
        let (events, letters) = count(&parsed);
        let token_keys = self.token_keys();
        let data_key = if events > 0 { Some(self.data_keys.take(events * 2).await?) } else { None };
        let letter_key = if letters > 0 { Some(self.dead_letter_keys.take(letters).await?) } else { None };

        let mut rows = Vec::with_capacity(incoming.len());
        for (incoming, parsed) in incoming.iter().zip(parsed) {
            let origin = Origin { vault: self.vault, create_date: incoming.create_date, id: incoming.id };
            rows.push(match (parsed, &data_key, &letter_key) {
                (Ok(event), Some(key), _) => Row::Event(Box::new(origin.event(event, &token_keys, key)?)),
                (Err(refusal), _, Some(key)) => Row::DeadLetter(origin.dead_letter(refusal, &incoming.body, key)?),
                // Counted above, so there is a key.
                (Ok(_), None, _) | (Err(_), _, None) => continue,
            });
        }
        Ok(rows)
    }

    pub(super) fn token_keys(&self) -> Arc<TokenKeys> {
        // A poisoned lock holds what was last put in whole: nothing panics between taking and giving it back.
        self.token_keys.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(super) fn set_token_keys(&self, keys: TokenKeys) {
        *self.token_keys.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(keys);
    }
}

fn count(parsed: &[Result<LoginEvent, Refusal>]) -> (u64, u64) {
    parsed.iter().fold((0, 0), |(events, letters), parsed| match parsed {
        Ok(_) => (events + 1, letters),
        Err(_) => (events, letters + 1),
    })
}

/// Which message a row is made from.
pub(super) struct Origin {
    pub(super) vault: VaultId,
    pub(super) create_date: time::Date,
    pub(super) id: EventId,
}

impl Origin {
    pub(super) fn event(
        &self,
        event: LoginEvent,
        keys: &TokenKeys,
        data_key: &StepKey,
    ) -> Result<NewLoginEvent, RandomnessError> {
        let seal = |field, text| {
            let binding = ValueBinding {
                vault: self.vault,
                field,
                create_date: self.create_date,
                event: self.id,
                user_id: event.user_id.as_str(),
                key: data_key.id,
            };
            seal_value(&data_key.key, &binding, text)
        };
        let tokens = |key: &TokenKey| EventTokens {
            ip: key.tokenizer.ip(&event.ip),
            device_id: key.tokenizer.device_id(&event.device_id),
            key: key.id,
        };
        Ok(NewLoginEvent {
            create_date: self.create_date,
            event_id: self.id,
            ip: seal(Field::Ip, event.ip.text())?,
            device_id: seal(Field::DeviceId, event.device_id.text())?,
            data_key: data_key.id,
            slot_a: keys.slot_a.as_ref().map(tokens),
            slot_b: keys.slot_b.as_ref().map(tokens),
            user_id: event.user_id,
            device_type: event.device_type,
            locale: event.locale,
            app_version: event.app_version,
        })
    }

    fn dead_letter(&self, refusal: Refusal, body: &str, key: &StepKey) -> Result<NewDeadLetter, RandomnessError> {
        let binding =
            DeadLetterBinding { vault: self.vault, create_date: self.create_date, message: self.id, key: key.id };
        Ok(NewDeadLetter {
            create_date: self.create_date,
            message_id: self.id,
            refusal,
            // Bodies are 1 MiB at most, and lines hardly more in the form that they are kept in.
            size: i32::try_from(body.len()).unwrap_or(i32::MAX),
            body: seal_dead_letter(&key.key, &binding, body)?,
            key: key.id,
        })
    }
}
