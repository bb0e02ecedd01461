use std::fmt;

use aes_gcm_siv::{Aes256GcmSiv, KeyInit as _};

use super::{Commitment, CommitmentMismatch, OpenError, SecretKey};

const STEP: &str = "pii-vault/v1/step";
const ENC: &str = "pii-vault/v1/enc";

/// A data key in use by the process that seals: `step 0 = HKDF(data key, "pii-vault/v1/step")`, `step i+1 =
/// HKDF(step i, "pii-vault/v1/step")`.
///
/// One step for each whole minute since the key was made; who calls keeps the clock. The data key itself and every
/// step that was left behind are wiped, so a host that is taken over cannot open what it sealed before the current
/// minute.
pub struct Ratchet {
    step: u32,
    secret: SecretKey,
}

/// The key of one step: `HKDF(step i, "pii-vault/v1/enc")`, ready to seal. Wiped on drop.
pub struct SealingKey {
    pub(super) step: u32,
    pub(super) cipher: Aes256GcmSiv,
}

/// A data key in use by a process that opens: derives forward from the root, and remembers the steps in order.
pub struct Opener {
    next: Ratchet,
    keys: Vec<SealingKey>,
    max_step: u32,
}

impl Ratchet {
    /// Starts at step 0 and wipes the data key.
    #[must_use]
    pub fn new(data_key: SecretKey) -> Self {
        Self { step: 0, secret: data_key.derive(STEP) }
    }

    /// The step it stands at.
    #[must_use]
    pub fn step(&self) -> u32 {
        self.step
    }

    /// Moves forward to `step`. There is no way back: an earlier step leaves it where it is.
    pub fn advance_to(&mut self, step: u32) {
        while self.step < step {
            self.secret = self.secret.derive(STEP);
            self.step += 1;
        }
    }

    /// The sealing key of the step it stands at.
    #[must_use]
    pub fn sealing_key(&self) -> SealingKey {
        let key = self.secret.derive(ENC);
        SealingKey { step: self.step, cipher: Aes256GcmSiv::new(key.expose().into()) }
    }

    #[cfg(test)]
    pub(super) fn secrets(&self) -> (SecretKey, SecretKey) {
        (self.secret.clone(), self.secret.derive(ENC))
    }
}

impl Opener {
    /// Takes an unwrapped data key once it has proven to be the committed one.
    ///
    /// # Errors
    /// [`CommitmentMismatch`].
    pub fn new(data_key: SecretKey, commitment: &[u8], max_step: u32) -> Result<Self, CommitmentMismatch> {
        Commitment::verify(commitment, &data_key)?;
        Ok(Self { next: Ratchet::new(data_key), keys: Vec::new(), max_step })
    }

    /// The key of `step`. Refuses a step above the key's stored maximum before it derives anything: a forged step
    /// must not buy 2^32 derivations.
    pub(super) fn key(&mut self, step: u32) -> Result<&SealingKey, OpenError> {
        if step > self.max_step {
            return Err(OpenError::StepAboveMaximum);
        }
        while self.keys.last().is_none_or(|key| key.step < step) {
            self.keys.push(self.next.sealing_key());
            let following = self.next.step().saturating_add(1);
            self.next.advance_to(following);
        }
        usize::try_from(step).ok().and_then(|index| self.keys.get(index)).ok_or(OpenError::StepAboveMaximum)
    }
}

macro_rules! redacted {
    ($($key:ident),*) => {$(
        impl fmt::Debug for $key {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($key), "([redacted])"))
            }
        }
    )*};
}
redacted!(Ratchet, SealingKey, Opener);

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_unwrapped(vec![byte; 32]).unwrap()
    }

    #[test]
    fn steps_are_the_same_however_far_one_jumps() {
        let (mut slow, mut fast) = (Ratchet::new(key(1)), Ratchet::new(key(1)));
        for step in 0..=60 {
            slow.advance_to(step);
        }
        fast.advance_to(60);
        assert_eq!(slow.secrets().1.expose(), fast.secrets().1.expose());
    }

    #[test]
    fn it_never_goes_back() {
        let mut ratchet = Ratchet::new(key(1));
        ratchet.advance_to(5);
        let at_five = ratchet.secrets().0;
        ratchet.advance_to(4);
        assert_eq!((ratchet.step(), ratchet.secrets().0.expose()), (5, at_five.expose()));
    }

    #[test]
    fn an_opener_gives_each_step_in_any_order() {
        let commitment = Commitment::to(&key(1));
        let mut opener = Opener::new(key(1), commitment.as_bytes(), 10).unwrap();
        for step in [7, 0, 10, 3] {
            assert_eq!(opener.key(step).unwrap().step, step);
        }
        assert_eq!(opener.keys.len(), 11);
    }

    #[test]
    fn a_step_above_the_maximum_is_refused_before_deriving() {
        let commitment = Commitment::to(&key(1));
        let mut opener = Opener::new(key(1), commitment.as_bytes(), 10).unwrap();
        for step in [11, u32::MAX] {
            assert!(matches!(opener.key(step), Err(OpenError::StepAboveMaximum)));
        }
        assert!(opener.keys.is_empty());
    }

    #[test]
    fn another_key_than_the_committed_one_opens_nothing() {
        let commitment = Commitment::to(&key(1));
        assert!(Opener::new(key(2), commitment.as_bytes(), 10).is_err());
    }

    #[test]
    fn debug_shows_no_key() {
        let ratchet = Ratchet::new(key(1));
        let opener = Opener::new(key(1), Commitment::to(&key(1)).as_bytes(), 10).unwrap();
        assert_eq!(format!("{ratchet:?}"), "Ratchet([redacted])");
        assert_eq!(format!("{:?}", ratchet.sealing_key()), "SealingKey([redacted])");
        assert_eq!(format!("{opener:?}"), "Opener([redacted])");
    }
}
