use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};

use crate::crypto::{Opener, RandomnessError, ValueBinding, seal_value};
use crate::db::rotation::data_key::Resealed;
use crate::db::rotation::{Failed, SealedEvent};
use crate::db::sealing_keys::WrappedKey;
use crate::domain::{Field, KeyId, RotationFailure, VaultId};
use crate::key_rotation::event::{binding, open};
use crate::keyring::StepKey;

/// What one transaction stores and settles. No plaintext.
pub(super) struct Page {
    pub(super) key: KeyId,
    pub(super) rows: Vec<Resealed>,
    pub(super) failed: Vec<Failed>,
}

impl Page {
    pub(super) fn under(key: KeyId) -> Self {
        Self { key, rows: Vec::new(), failed: Vec::new() }
    }

    pub(super) fn extend(&mut self, rows: Vec<Result<Resealed, Failed>>) {
        for row in rows {
            match row {
                Ok(row) => self.rows.push(row),
                Err(failed) => self.failed.push(failed),
            }
        }
    }

    /// By primary key, as everything is that is stored.
    pub(super) fn sort(&mut self) {
        self.rows.sort_unstable_by_key(|row| (row.create_date, row.event));
        self.failed.sort_unstable_by_key(|row| row.position);
    }
}

/// Key by key, so that each is asked of KMS once a page at most, however many there are.
pub(super) fn by_key(rows: Vec<SealedEvent>) -> impl Iterator<Item = (Option<WrappedKey>, Vec<SealedEvent>)> {
    let mut groups: BTreeMap<KeyId, (Option<WrappedKey>, Vec<SealedEvent>)> = BTreeMap::new();
    for mut row in rows {
        let key = row.key.take();
        let (_, rows) = groups.entry(row.key_id).or_insert_with(|| (key, Vec::new()));
        rows.push(row);
    }
    groups.into_values()
}

/// Opens a row and seals it anew. One row is in memory as plaintext at a time, and wiped before the next.
pub(super) fn reopen(
    vault: VaultId,
    opener: &mut Result<&mut Opener, RotationFailure>,
    new: &StepKey,
    row: &SealedEvent,
) -> Result<Result<Resealed, Failed>, RandomnessError> {
    let opened = opener.as_mut().map_err(|why| *why).and_then(|opener| open(opener, vault, row));
    let (ip, device_id) = match opened {
        Ok(opened) => opened,
        Err(why) => return Ok(Err(Failed { position: row.position(), key: row.key_id, why })),
    };
    let seal = |field, text: &SecretString| {
        let binding = ValueBinding { key: new.id, ..binding(vault, field, row) };
        seal_value(&new.key, &binding, text.expose_secret())
    };
    Ok(Ok(Resealed {
        create_date: row.create_date,
        event: row.event,
        old_key: row.key_id,
        ip: seal(Field::Ip, &ip)?,
        device_id: seal(Field::DeviceId, &device_id)?,
    }))
}
