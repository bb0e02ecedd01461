use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tracing::info;

use super::KeyringError;
use crate::aws::{EncryptionContext, KeyWrapper};
use crate::crypto::{Commitment, Ratchet, SealingKey};
use crate::db::sealing_keys::{NewSealingKey, Seals};
use crate::db::{Pool, sealing_keys};
use crate::domain::{KeyId, VaultId};

const STEP: Duration = Duration::from_secs(60);

/// How long a sealing key may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLimits {
    lifetime: Duration,
    values: u64,
    max_step: u16,
}

/// A limit that would make keys unsafe or unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyLimitsError {
    /// The lifetime.
    #[error("a data key lives between 1 minute and 7 days")]
    Lifetime,
    /// The number of values.
    #[error("a data key seals between 1,000 and 2^32 - 1 values: beyond that, random nonces may repeat")]
    Values,
}

impl KeyLimits {
    /// The longest lifetime: 10,080 ratchet steps, which the schema knows too.
    const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

    /// What redrive and re-sealing go by: a day, or 2^24 values.
    pub const USUAL: Self = Self { lifetime: Duration::from_secs(24 * 60 * 60), values: 1 << 24, max_step: 24 * 60 };

    /// A key for `lifetime` and `values`, whichever ends first.
    ///
    /// # Errors
    /// [`KeyLimitsError`].
    pub fn new(lifetime: Duration, values: u64) -> Result<Self, KeyLimitsError> {
        if lifetime < STEP || lifetime > Self::LONGEST {
            return Err(KeyLimitsError::Lifetime);
        }
        if !(1_000..1 << 32).contains(&values) {
            return Err(KeyLimitsError::Values);
        }
        let max_step = u16::try_from(lifetime.as_secs() / STEP.as_secs()).map_err(|_| KeyLimitsError::Lifetime)?;
        Ok(Self { lifetime, values, max_step })
    }

    /// How many values one key seals at most.
    #[must_use]
    pub fn values(self) -> u64 {
        self.values
    }
}

/// The sealing key of one purpose that this process uses, replaced when it reaches a limit.
pub struct SealingKeys<W> {
    pool: Pool,
    wrapper: Arc<W>,
    vault: VaultId,
    seals: Seals,
    limits: KeyLimits,
    // Held while a new key is made, so that one is made and the others wait for it.
    in_use: Mutex<Option<InUse>>,
}

/// The sealing key of the current minute.
#[derive(Debug)]
pub struct StepKey {
    /// The key that rows name.
    pub id: KeyId,
    /// What seals.
    pub key: SealingKey,
}

struct InUse {
    id: KeyId,
    made: Instant,
    ratchet: Ratchet,
    current: Arc<StepKey>,
    values_left: u64,
}

impl<W: KeyWrapper> SealingKeys<W> {
    /// No key yet: the first [`Self::take`] makes one.
    pub fn new(pool: Pool, wrapper: Arc<W>, vault: VaultId, seals: Seals, limits: KeyLimits) -> Self {
        Self { pool, wrapper, vault, seals, limits, in_use: Mutex::new(None) }
    }

    /// The key for the next `values` values. Makes one, and stores it, where there is none or it is used up.
    ///
    /// # Errors
    /// [`KeyringError`]; there is no falling back to a used-up key.
    pub async fn take(&self, values: u64) -> Result<Arc<StepKey>, KeyringError> {
        let mut slot = self.in_use.lock().await;
        if let Some(key) = slot.as_mut().and_then(|in_use| in_use.take(values, in_use.made.elapsed(), self.limits)) {
            return Ok(key);
        }
        *slot = None;
        let in_use = slot.insert(self.make().await?);
        in_use.values_left = in_use.values_left.saturating_sub(values);
        Ok(in_use.current.clone())
    }

    /// Wipes what the current minute no longer needs. To be called once a minute: a process that waits on an empty
    /// queue must not keep the key of its last busy minute.
    pub async fn advance(&self) {
        let mut slot = self.in_use.lock().await;
        if slot.as_mut().is_some_and(|in_use| in_use.take(0, in_use.made.elapsed(), self.limits).is_none()) {
            *slot = None;
        }
    }

    /// Drops the key if it is `id`: the database refused it.
    pub async fn forget(&self, id: KeyId) {
        self.in_use.lock().await.take_if(|in_use| in_use.id == id);
    }

    async fn make(&self) -> Result<InUse, KeyringError> {
        let id = KeyId::random();
        let purpose = self.seals.purpose();
        let key = self.wrapper.generate(EncryptionContext { vault: self.vault, purpose, key: id }).await?;
        // The ratchet counts from before the key is stored: it may only run ahead of its age, never behind.
        let made = Instant::now();
        let new = NewSealingKey {
            id,
            wrapped_key: &key.wrapped,
            kms_key: &key.kms_key,
            commitment: &Commitment::to(&key.plaintext),
            max_step: i32::from(self.limits.max_step),
        };
        sealing_keys::insert(&mut *self.pool.get().await?, self.seals, &new).await?;
        info!(key.id = %id, purpose = purpose.name(), "new sealing key");
        let ratchet = Ratchet::new(key.plaintext);
        let current = Arc::new(StepKey { id, key: ratchet.sealing_key() });
        Ok(InUse { id, made, ratchet, current, values_left: self.limits.values })
    }
}

impl InUse {
    /// `None` where a key of this age and use is used up.
    fn take(&mut self, values: u64, age: Duration, limits: KeyLimits) -> Option<Arc<StepKey>> {
        if age >= limits.lifetime {
            return None;
        }
        self.values_left = self.values_left.checked_sub(values)?;
        let step = u32::try_from(age.as_secs() / STEP.as_secs()).ok()?;
        if step > self.ratchet.step() {
            self.ratchet.advance_to(step);
            self.current = Arc::new(StepKey { id: self.id, key: self.ratchet.sealing_key() });
        }
        Some(self.current.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SecretKey;

    fn in_use(limits: KeyLimits) -> InUse {
        let ratchet = Ratchet::new(SecretKey::from_unwrapped(vec![1; 32]).unwrap());
        let id = KeyId::random();
        let current = Arc::new(StepKey { id, key: ratchet.sealing_key() });
        InUse { id, made: Instant::now(), ratchet, current, values_left: limits.values }
    }

    #[test]
    fn a_step_is_a_whole_minute() {
        let limits = KeyLimits::new(Duration::from_secs(3600), 10_000).unwrap();
        let mut key = in_use(limits);
        for (age, step) in [(59, 0), (60, 1), (119, 1), (120, 2), (720, 12)] {
            assert!(key.take(1, Duration::from_secs(age), limits).is_some());
            assert_eq!(key.ratchet.step(), step);
        }
    }

    #[test]
    fn a_key_ends_with_its_lifetime_before_its_last_step() {
        let limits = KeyLimits::new(Duration::from_secs(150), 10_000).unwrap();
        let mut key = in_use(limits);
        assert!(key.take(1, Duration::from_millis(149_999), limits).is_some());
        assert!(key.ratchet.step() <= u32::from(limits.max_step));
        assert!(key.take(1, Duration::from_secs(150), limits).is_none());
    }

    #[test]
    fn a_key_ends_with_its_values() {
        let limits = KeyLimits::new(Duration::from_secs(3600), 1_000).unwrap();
        let mut key = in_use(limits);
        let mut take = |values| key.take(values, Duration::ZERO, limits).is_some();
        assert!(take(600));
        assert!(!take(401));
        assert!(take(400));
        assert!(!take(1));
    }

    #[test]
    fn unsafe_limits_are_refused() {
        let day = Duration::from_secs(86_400);
        assert_eq!(KeyLimits::new(day, 1 << 32), Err(KeyLimitsError::Values));
        assert_eq!(KeyLimits::new(day, 0), Err(KeyLimitsError::Values));
        assert!(KeyLimits::new(day, (1 << 32) - 1).is_ok());
        assert_eq!(KeyLimits::new(day, 1 << 24), Ok(KeyLimits::USUAL));
        assert_eq!(KeyLimits::new(day * 8, 1 << 24), Err(KeyLimitsError::Lifetime));
        assert_eq!(KeyLimits::new(Duration::from_secs(59), 1 << 24), Err(KeyLimitsError::Lifetime));
    }
}
