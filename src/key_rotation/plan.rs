//! How long this process takes for a row, measured on values that nobody has, under a key that protects nothing.

use std::hint::black_box;
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret as _, SecretString};
use time::macros::date;
use uuid::Uuid;

use crate::crypto::{
    Commitment, Opener, Ratchet, Sealed, SealingKey, SecretKey, Tokenizer, ValueBinding, open_value, seal_value,
};
use crate::domain::{ClientIp, DeviceId, EventId, Field, KeyId, VaultId};

/// This process cannot do what it would be measured by.
#[derive(Debug, thiserror::Error)]
#[error("values of a sample could not be sealed and opened")]
pub struct SampleError;

/// For a row both of whose values are opened and sealed anew: the average of so many.
///
/// # Errors
/// [`SampleError`].
pub fn reseal_time(rows: u32) -> Result<Duration, SampleError> {
    let mut sample = Sample::of(rows)?;
    let began = Instant::now();
    for (event, sealed) in &sample.rows {
        for (field, sealed) in Field::ALL.into_iter().zip(sealed) {
            let text = open(&mut sample.opener, *event, field, sealed)?;
            black_box(seal(&sample.sealing_key, *event, field, text.expose_secret())?);
        }
    }
    Ok(began.elapsed() / rows.max(1))
}

/// For a row both of whose values are opened, and turned into tokens of the old key and of the new one.
///
/// # Errors
/// [`SampleError`].
pub fn token_time(rows: u32) -> Result<Duration, SampleError> {
    let mut sample = Sample::of(rows)?;
    let (old, new) = (Tokenizer::new(&key(2)?), Tokenizer::new(&key(3)?));
    let began = Instant::now();
    for (event, [ip, device_id]) in &sample.rows {
        let ip = open(&mut sample.opener, *event, Field::Ip, ip)?.expose_secret().to_owned();
        let ip = ClientIp::parse(ip).map_err(|_| SampleError)?;
        let device_id = open(&mut sample.opener, *event, Field::DeviceId, device_id)?.expose_secret().to_owned();
        let device_id = DeviceId::parse(device_id).map_err(|_| SampleError)?;
        for tokenizer in [&old, &new] {
            black_box((tokenizer.ip(&ip), tokenizer.device_id(&device_id)));
        }
    }
    Ok(began.elapsed() / rows.max(1))
}

/// Sealed rows, and what opens them and seals others.
struct Sample {
    rows: Vec<(Uuid, [Sealed; 2])>,
    opener: Opener,
    sealing_key: SealingKey,
}

impl Sample {
    fn of(rows: u32) -> Result<Self, SampleError> {
        let opener = Opener::new(key(1)?, Commitment::to(&key(1)?).as_bytes(), 0).map_err(|_| SampleError)?;
        let sealing_key = Ratchet::new(key(1)?).sealing_key();
        let sealed = |row: u32| {
            let event = Uuid::from_u128(row.into());
            let [_, b, c, d] = row.to_be_bytes();
            let ip = seal(&sealing_key, event, Field::Ip, &format!("10.{b}.{c}.{d}"))?;
            let device_id = seal(&sealing_key, event, Field::DeviceId, &event.to_string())?;
            Ok((event, [ip, device_id]))
        };
        let rows = (0..rows).map(sealed).collect::<Result<_, _>>()?;
        Ok(Self { rows, opener, sealing_key })
    }
}

/// Of one byte over and over: it protects nothing.
fn key(byte: u8) -> Result<SecretKey, SampleError> {
    SecretKey::from_unwrapped(vec![byte; 32]).map_err(|_| SampleError)
}

fn seal(key: &SealingKey, event: Uuid, field: Field, text: &str) -> Result<Sealed, SampleError> {
    seal_value(key, &binding(event, field), text).map_err(|_| SampleError)
}

fn open(opener: &mut Opener, event: Uuid, field: Field, sealed: &Sealed) -> Result<SecretString, SampleError> {
    open_value(opener, &binding(event, field), sealed.as_bytes()).map_err(|_| SampleError)
}

fn binding(event: Uuid, field: Field) -> ValueBinding<'static> {
    ValueBinding {
        vault: VaultId(Uuid::nil()),
        field,
        create_date: date!(2026 - 01 - 01),
        event: EventId(event),
        user_id: "a sample",
        key: KeyId(Uuid::nil()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_takes_time_and_not_for_ever() {
        let (reseal, tokens) = (reseal_time(50).unwrap(), token_time(50).unwrap());
        assert!(
            !reseal.is_zero()
                && !tokens.is_zero()
                && reseal < Duration::from_secs(1)
                && tokens < Duration::from_secs(1)
        );
    }
}
