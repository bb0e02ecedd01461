//! A sample of rows that is opened to prove a rotation. What is opened is recorded first.

use std::sync::Arc;

use uuid::Uuid;

use super::error::RotationError;
use super::event::{open_parsed, opener};
use super::opening::KEYS;
use super::waited::waited;
use crate::aws::KeyWrapper;
use crate::db::rotation::samples::{self, SampledEvent, StoredTokens};
use crate::db::rotation::{Position, handouts};
use crate::db::sealing_keys::Seals;
use crate::db::{Connection, Pool};
use crate::domain::{KeyId, RotationFailure, VaultId};
use crate::keyring::{Openers, TokenKeys};
use crate::patience::Patience;

/// What a sample of rows proved.
#[derive(Debug, Default)]
pub struct Proof {
    /// Rows that opened, and have the tokens of their values.
    pub good: u64,
    /// Those that do not.
    pub wrong: Vec<Wrong>,
}

/// An event of a sample that did not open, or whose tokens are not those of its values.
#[derive(Clone, Copy, Debug)]
pub struct Wrong {
    /// Its primary key.
    pub position: Position,
    /// Why it does not open; `TokenMismatch`: it does, and a token is not that of its value.
    pub why: RotationFailure,
}

impl Proof {
    /// Rows that were to be opened.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.good.saturating_add(u64::try_from(self.wrong.len()).unwrap_or(u64::MAX))
    }
}

/// Opens up to `most` rows at random of those that a job can be proven by ([`samples::record`]), and compares the
/// tokens of each slot whose key is in use with its values. Each row must have those of `keys`.
///
/// # Errors
/// [`RotationError`].
pub async fn prove<W: KeyWrapper>(
    pool: &Pool,
    wrapper: W,
    vault: VaultId,
    job: Uuid,
    keys: &[KeyId],
    most: i32,
    patience: Patience,
) -> Result<Proof, RotationError> {
    let record = async |conn: &mut Connection| samples::record(conn, job, most).await;
    let Some(sample) = waited(pool, patience, record).await? else { return Ok(Proof::default()) };
    waited(pool, patience, async |conn| handouts::arm(conn, sample).await).await?;
    let mut rows = waited(pool, patience, async |conn| samples::fetch(conn, sample).await).await?;
    rows.sort_unstable_by_key(|row| row.event.key_id);

    let wrapper = Arc::new(wrapper);
    let token_keys = waited(pool, patience, async |conn| TokenKeys::load(conn, &*wrapper, vault).await).await?;
    let is_there = |id: &KeyId| token_keys.slot_a.iter().chain(&token_keys.slot_b).any(|key| key.id == *id);
    if !keys.iter().all(is_there) {
        return Err(RotationError::TokenKeysGone);
    }
    let openers = tokio::sync::Mutex::new(Openers::new(wrapper, vault, Seals::Values, KEYS));
    let mut proof = Proof::default();
    for row in &rows {
        let check = || async { look(&mut *openers.lock().await, vault, &token_keys, keys, row).await };
        match patience.wait_out(RotationError::may_pass, || (), check).await? {
            Ok(()) => proof.good += 1,
            Err(why) => proof.wrong.push(Wrong { position: row.event.position(), why }),
        }
    }
    Ok(proof)
}

/// A few rows: they are opened where they are.
async fn look<W: KeyWrapper>(
    openers: &mut Openers<W>,
    vault: VaultId,
    token_keys: &TokenKeys,
    keys: &[KeyId],
    row: &SampledEvent,
) -> Result<Result<(), RotationFailure>, RotationError> {
    let opener = opener(openers, row.event.key.as_ref()).await?;
    Ok(opener.and_then(|opener| open_parsed(opener, vault, &row.event)).and_then(|(ip, device_id)| {
        let agrees = |stored: &StoredTokens| {
            // Of a slot that is being emptied there is no key any more, and nothing to compare with.
            let key = token_keys.slot_a.iter().chain(&token_keys.slot_b).find(|key| key.id == stored.key);
            key.is_none_or(|key| {
                let (ip, device_id) = (key.tokenizer.ip(&ip), key.tokenizer.device_id(&device_id));
                ip.to_string() == stored.ip && device_id.to_string() == stored.device_id
            })
        };
        let has_all = keys.iter().all(|key| row.tokens.iter().any(|stored| stored.key == *key));
        (has_all && row.tokens.iter().all(agrees)).then_some(()).ok_or(RotationFailure::TokenMismatch)
    }))
}
