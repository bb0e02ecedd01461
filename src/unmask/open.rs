use std::sync::Arc;

use secrecy::SecretString;
use time::Date;
use tokio_util::sync::CancellationToken;

use super::authorise::Receipt;
use super::fetch::SealedPage;
use crate::aws::KeyWrapper;
use crate::crypto::{OpenError, Opener, ValueBinding, open_value};
use crate::db::receipts::{OpenFailure, SealedRow};
use crate::db::sealing_keys::Seals;
use crate::domain::{EventId, Field, VaultId};
use crate::keyring::{KeyringError, Openers, Unopenable};
use crate::patience::Patience;

/// Data keys that are kept unwrapped, some 2 MiB each at most: the rows of a day come in turns from all processes that
/// sealed in it.
const KEYS: usize = 64;

/// The keys of one receipt.
pub(super) struct Opening<W> {
    openers: Openers<W>,
    vault: VaultId,
    fields: Vec<Field>,
}

/// Rows in plaintext, and those that did not open. It is not written before it is settled.
pub(super) struct OpenedPage {
    pub(super) last: i32,
    pub(super) rows: Vec<OpenedRow>,
    pub(super) failed: Vec<UnopenedRow>,
}

/// A row with its values in the order of the fields.
pub(super) struct OpenedRow {
    ordinal: i32,
    pub(super) create_date: Date,
    pub(super) event: EventId,
    pub(super) user_id: String,
    pub(super) values: Vec<SecretString>,
}

/// A row that did not open; which one it was is not known here where it was deleted.
pub(super) struct UnopenedRow {
    pub(super) ordinal: i32,
    pub(super) row: Option<(Date, EventId)>,
    pub(super) failure: OpenFailure,
}

impl<W: KeyWrapper> Opening<W> {
    /// With keys of its own, which go when it is dropped.
    pub(super) fn new(receipt: &Receipt, wrapper: W) -> Self {
        let openers = Openers::new(Arc::new(wrapper), receipt.vault(), Seals::Values, KEYS);
        Self { openers, vault: receipt.vault(), fields: receipt.fields().to_vec() }
    }

    /// Opens all rows of a page that open. A row whose fields do not all open did not.
    pub(super) async fn open(
        &mut self,
        patience: Patience,
        stop: &CancellationToken,
        page: &SealedPage,
    ) -> Result<OpenedPage, KeyringError> {
        let deleted = page.deleted();
        let deleted = deleted.map(|ordinal| UnopenedRow { ordinal, row: None, failure: OpenFailure::Deleted });
        let mut opened =
            OpenedPage { last: page.last(), rows: Vec::with_capacity(page.rows().len()), failed: deleted.collect() };
        // Key by key, so that each is asked of KMS once a page at most, however many there are.
        let mut rows: Vec<_> = page.rows().iter().collect();
        rows.sort_unstable_by_key(|row| (row.key_id, row.ordinal));
        let this = tokio::sync::Mutex::new(self);
        for row in rows {
            let wait = |error: &KeyringError| error.is_transient() && !stop.is_cancelled();
            let (ordinal, position) = (row.ordinal, (row.create_date, row.event));
            match patience.wait_out(wait, || (), || async { this.lock().await.open_row(row).await }).await? {
                Ok(row) => opened.rows.push(row),
                Err(failure) => opened.failed.push(UnopenedRow { ordinal, row: Some(position), failure }),
            }
        }
        opened.rows.sort_unstable_by_key(|row| row.ordinal);
        opened.failed.sort_unstable_by_key(|row| row.ordinal);
        Ok(opened)
    }

    async fn open_row(&mut self, row: &SealedRow) -> Result<Result<OpenedRow, OpenFailure>, KeyringError> {
        let Some(key) = &row.key else { return Ok(Err(OpenFailure::KeyMissing)) };
        let opener = match self.openers.get(key).await? {
            Ok(opener) => opener,
            Err(Unopenable::Commitment) => return Ok(Err(OpenFailure::KeyCommitment)),
            Err(Unopenable::WrappedKey | Unopenable::KmsKey | Unopenable::KmsKeyOff) => {
                return Ok(Err(OpenFailure::KeyDoesNotUnwrap));
            }
        };
        let values = self.fields.iter().map(|field| open_field(opener, self.vault, row, *field));
        Ok(values.collect::<Result<_, _>>().map_err(failure).map(|values| OpenedRow {
            ordinal: row.ordinal,
            create_date: row.create_date,
            event: row.event,
            user_id: row.user_id.clone(),
            values,
        }))
    }
}

fn open_field(opener: &mut Opener, vault: VaultId, row: &SealedRow, field: Field) -> Result<SecretString, OpenError> {
    // One that was not handed out is as good as an empty one.
    let sealed = row.sealed.iter().find(|(of, _)| *of == field).map_or(&[][..], |(_, sealed)| sealed);
    let binding = ValueBinding {
        vault,
        field,
        create_date: row.create_date,
        event: row.event,
        user_id: &row.user_id,
        key: row.key_id,
    };
    open_value(opener, &binding, sealed)
}

fn failure(error: OpenError) -> OpenFailure {
    match error {
        OpenError::TooShort => OpenFailure::TooShort,
        OpenError::UnknownVersion => OpenFailure::UnknownVersion,
        OpenError::StepAboveMaximum => OpenFailure::StepAboveMaximum,
        OpenError::NotAuthentic => OpenFailure::NotAuthentic,
        OpenError::MalformedPlaintext => OpenFailure::MalformedPlaintext,
    }
}
