use secrecy::{ExposeSecret as _, SecretString};

use crate::aws::KeyWrapper;
use crate::crypto::{RandomnessError, ValueBinding, seal_value};
use crate::db::rotation::data_key::Resealed;
use crate::db::rotation::{Failed, SealedEvent};
use crate::domain::{Field, KeyId, VaultId};
use crate::key_rotation::RotationError;
use crate::key_rotation::event::{binding, open, opener};
use crate::keyring::{Openers, StepKey};

/// What one transaction stores and settles. No plaintext.
pub(super) struct Page {
    pub(super) key: KeyId,
    pub(super) rows: Vec<Resealed>,
    pub(super) failed: Vec<Failed>,
}

/// Opens rows and seals them under `new`. One row is in memory as plaintext at a time, and wiped before the next.
pub(super) async fn reseal<W: KeyWrapper>(
    openers: &mut Openers<W>,
    vault: VaultId,
    new: &StepKey,
    mut rows: Vec<SealedEvent>,
) -> Result<Page, RotationError> {
    // Key by key, so that each is asked of KMS once a page at most, however many there are.
    rows.sort_unstable_by_key(|row| (row.key_id, row.position()));
    let mut page = Page { key: new.id, rows: Vec::with_capacity(rows.len()), failed: Vec::new() };
    for row in &rows {
        match opener(openers, row.key.as_ref()).await?.and_then(|opener| open(opener, vault, row)) {
            Ok((ip, device_id)) => page.rows.push(seal(vault, new, row, &ip, &device_id)?),
            Err(why) => page.failed.push(Failed { position: row.position(), key: row.key_id, why }),
        }
    }
    // By primary key, as everything is that is stored.
    page.rows.sort_unstable_by_key(|row| (row.create_date, row.event));
    page.failed.sort_unstable_by_key(|row| row.position);
    Ok(page)
}

fn seal(
    vault: VaultId,
    new: &StepKey,
    row: &SealedEvent,
    ip: &SecretString,
    device_id: &SecretString,
) -> Result<Resealed, RandomnessError> {
    let seal = |field, text: &SecretString| {
        let binding = ValueBinding { key: new.id, ..binding(vault, field, row) };
        seal_value(&new.key, &binding, text.expose_secret())
    };
    Ok(Resealed {
        create_date: row.create_date,
        event: row.event,
        old_key: row.key_id,
        ip: seal(Field::Ip, ip)?,
        device_id: seal(Field::DeviceId, device_id)?,
    })
}
