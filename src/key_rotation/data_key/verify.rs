use std::sync::Arc;

use uuid::Uuid;

use crate::aws::KeyWrapper;
use crate::db::Pool;
use crate::db::rotation::data_key::sample::{self, SampledEvent, StoredTokens};
use crate::db::sealing_keys::Seals;
use crate::domain::{RotationFailure, VaultId};
use crate::key_rotation::event::{open_parsed, opener};
use crate::key_rotation::opening::KEYS;
use crate::key_rotation::{RotationError, Wrong};
use crate::keyring::{Openers, TokenKeys};
use crate::patience::Patience;

/// What a sample of rows under new keys proved.
#[derive(Debug, Default)]
pub struct Verified {
    /// Rows that opened, and have the tokens of their values.
    pub good: u64,
    /// Those that do not.
    pub wrong: Vec<Wrong>,
}

/// Opens up to `most` rows at random that are under keys made since `job` was recorded, and compares their tokens.
/// What is opened is recorded first.
///
/// # Errors
/// [`RotationError`].
pub async fn verify<W: KeyWrapper>(
    pool: &Pool,
    wrapper: W,
    vault: VaultId,
    job: Uuid,
    most: i32,
    patience: Patience,
) -> Result<Verified, RotationError> {
    let may_pass = RotationError::may_pass;
    let record = || async { Ok(sample::record(&mut *pool.get().await?, job, most).await?) };
    let Some(sample) = patience.wait_out(may_pass, || (), record).await? else { return Ok(Verified::default()) };
    let arm = || async { Ok(sample::arm(&mut *pool.get().await?, sample).await?) };
    patience.wait_out(may_pass, || (), arm).await?;
    let fetch = || async { Ok::<_, RotationError>(sample::fetch(&mut *pool.get().await?, sample).await?) };
    let mut rows = patience.wait_out(may_pass, || (), fetch).await?;
    rows.sort_unstable_by_key(|row| row.event.key_id);

    let wrapper = Arc::new(wrapper);
    let load = || async { Ok::<_, RotationError>(TokenKeys::load(&mut *pool.get().await?, &*wrapper, vault).await?) };
    let token_keys = patience.wait_out(may_pass, || (), load).await?;
    let openers = tokio::sync::Mutex::new(Openers::new(wrapper, vault, Seals::Values, KEYS));
    let mut verified = Verified::default();
    for row in &rows {
        let check = || async { look(&mut *openers.lock().await, vault, &token_keys, row).await };
        match patience.wait_out(may_pass, || (), check).await? {
            Ok(()) => verified.good += 1,
            Err(why) => {
                verified.wrong.push(Wrong { position: row.event.position(), why });
            }
        }
    }
    Ok(verified)
}

/// A few rows: they are opened where they are.
async fn look<W: KeyWrapper>(
    openers: &mut Openers<W>,
    vault: VaultId,
    token_keys: &TokenKeys,
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
        row.tokens.iter().all(agrees).then_some(()).ok_or(RotationFailure::TokenMismatch)
    }))
}
