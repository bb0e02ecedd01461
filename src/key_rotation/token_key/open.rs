use secrecy::{ExposeSecret as _, SecretString};

use crate::aws::KeyWrapper;
use crate::crypto::{Opener, Tokenizer, ValueBinding, open_value};
use crate::db::rotation::Failed;
use crate::db::rotation::token_key::{Filling, TokenRow, Tokens};
use crate::domain::{ClientIp, DeviceId, Field, RotationFailure, VaultId};
use crate::key_rotation::{RotationError, failure};
use crate::keyring::{Openers, TokenKey};

/// What became of rows. No plaintext.
pub(super) struct Opened(pub(super) Vec<(TokenRow, Result<Computed, RotationFailure>)>);

/// The tokens of a row's authentic values.
pub(super) struct Computed {
    /// Whether the row has the old ones.
    pub(super) old_is_right: bool,
    pub(super) new: (String, String),
}

/// What a transaction stores and settles.
pub(super) struct Page {
    pub(super) fillings: Vec<Filling>,
    pub(super) failed: Vec<Failed>,
}

impl Opened {
    /// A row whose old tokens are others is filled, from its authentic value, and listed all the same.
    pub(super) fn filling(self) -> Page {
        let mut page = Page { fillings: Vec::with_capacity(self.0.len()), failed: Vec::new() };
        for (TokenRow { position, key_id: key, .. }, computed) in self.0 {
            let why = match computed {
                Ok(Computed { old_is_right, new: (ip, device_id) }) => {
                    page.fillings.push(Filling { position, ip, device_id });
                    (!old_is_right).then_some(RotationFailure::TokenMismatch)
                }
                Err(why) => Some(why),
            };
            page.failed.extend(why.map(|why| Failed { position, key, why }));
        }
        page
    }
}

/// Opens both fields of each row, and computes the tokens of both keys. The values of one row are in memory at a time.
pub(super) async fn open<W: KeyWrapper>(
    openers: &mut Openers<W>,
    vault: VaultId,
    old: &TokenKey,
    new: &TokenKey,
    mut rows: Vec<TokenRow>,
) -> Result<Opened, RotationError> {
    // Key by key, so that each is asked of KMS once a page at most, however many there are.
    rows.sort_unstable_by_key(|row| (row.key_id, row.position));
    let mut opened = Vec::with_capacity(rows.len());
    for row in rows {
        let opener = failure::opener(openers, row.key.as_ref()).await?;
        let computed = opener.and_then(|opener| compute(opener, vault, old, new, &row));
        opened.push((row, computed));
    }
    Ok(Opened(opened))
}

fn compute(
    opener: &mut Opener,
    vault: VaultId,
    old: &TokenKey,
    new: &TokenKey,
    row: &TokenRow,
) -> Result<Computed, RotationFailure> {
    let [ip, device_id] = &row.sealed;
    // Authentic, and parsed before it was sealed: what does not parse now was never sealed by us.
    let ip = ClientIp::parse(text(opener, vault, row, ip)?.expose_secret().to_owned())
        .map_err(|_| RotationFailure::MalformedPlaintext)?;
    let device_id = DeviceId::parse(text(opener, vault, row, device_id)?.expose_secret().to_owned())
        .map_err(|_| RotationFailure::MalformedPlaintext)?;
    let tokens = |tokenizer: &Tokenizer| (tokenizer.ip(&ip).to_string(), tokenizer.device_id(&device_id).to_string());
    let (old_ip, old_device_id) = tokens(&old.tokenizer);
    let old_is_right = row.old == Tokens(Some(old_ip), Some(old_device_id)) && row.old_key == Some(old.id.0);
    Ok(Computed { old_is_right, new: tokens(&new.tokenizer) })
}

fn text(
    opener: &mut Opener,
    vault: VaultId,
    row: &TokenRow,
    (field, sealed): &(Field, Vec<u8>),
) -> Result<SecretString, RotationFailure> {
    let binding = ValueBinding {
        vault,
        field: *field,
        create_date: row.position.0,
        event: row.event(),
        user_id: &row.user_id,
        key: row.key_id,
    };
    open_value(opener, &binding, sealed).map_err(failure::of_value)
}
