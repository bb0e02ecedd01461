use crate::aws::KeyWrapper;
use crate::crypto::{Opener, Tokenizer};
use crate::db::rotation::Failed;
use crate::db::rotation::token_key::{Filling, TokenRow, Tokens};
use crate::domain::{RotationFailure, VaultId};
use crate::key_rotation::RotationError;
use crate::key_rotation::event::{open_parsed, opener};
use crate::keyring::{Openers, TokenKey};

/// What became of rows. No plaintext.
pub(super) struct Opened(Vec<(TokenRow, Result<Computed, RotationFailure>)>);

/// The tokens of a row's authentic values.
struct Computed {
    /// Whether the row has the old ones.
    old_is_right: bool,
    new: (String, String),
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
        for (TokenRow { event, .. }, computed) in self.0 {
            let (position, key) = (event.position(), event.key_id);
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
    rows.sort_unstable_by_key(|row| (row.event.key_id, row.event.position()));
    let mut opened = Vec::with_capacity(rows.len());
    for row in rows {
        let opener = opener(openers, row.event.key.as_ref()).await?;
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
    let (ip, device_id) = open_parsed(opener, vault, &row.event)?;
    let tokens = |tokenizer: &Tokenizer| (tokenizer.ip(&ip).to_string(), tokenizer.device_id(&device_id).to_string());
    let (old_ip, old_device_id) = tokens(&old.tokenizer);
    let old_is_right = row.old == Tokens(Some(old_ip), Some(old_device_id)) && row.old_key == Some(old.id.0);
    Ok(Computed { old_is_right, new: tokens(&new.tokenizer) })
}
