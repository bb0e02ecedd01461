//! Plaintext to tokens, by which an officer then unmasks: record → arm → be covered by a checkpoint → fetch the token
//! key → tokens → settle.
//!
//! Guaranteed: the token key is unwrapped only after a committed record says who asks, how many values, and why; no
//! token leaves [`run`] before the log that names it is committed; values are wiped on drop, and are in no error.
//! Not guaranteed: that a token which the log names was seen; whoever asked may have lost the connection first.

mod values;

use std::time::Duration;

use uuid::Uuid;

use crate::aws::KeyWrapper;
use crate::crypto::Token;
use crate::crypto::checkpoint::{CheckpointKey, NotCovered};
use crate::db::coverage::{self, Record};
use crate::db::receipts::Decision;
use crate::db::{Connection, DbError};
use crate::db::{lookups, receipts};
use crate::domain::AccessRefusal;
use crate::keyring::{KeyringError, TokenKey};

pub use values::{Values, ValuesError};

/// How long the notary may take: milliseconds, where it is well.
const NOTARY: Duration = Duration::from_secs(10);

/// Why, for the record. Policy says what form a case id has.
#[derive(Clone, Debug)]
pub struct Purpose {
    /// 1 to 1,000 characters.
    pub reason: String,
    /// 1 to 100 characters of ASCII without spaces.
    pub case: String,
}

/// What was recorded, and may be told.
#[derive(Debug)]
pub struct Looked {
    /// The receipt.
    pub receipt: Uuid,
    /// The row of the audit log with the intent.
    pub seq: i64,
    /// A token for each value, in order, or why there is none.
    pub tokens: Result<Vec<Token>, AccessRefusal>,
}

/// A look-up did not come to its end. No token of it is known to anybody.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// PostgreSQL.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The token key.
    #[error(transparent)]
    Key(#[from] KeyringError),
    /// The checkpoint that is to cover the receipt does not verify.
    #[error(transparent)]
    Checkpoint(#[from] NotCovered),
}

/// Turns values into the tokens that the view shows. `wrapper` makes the KMS client of a receipt, so that CloudTrail
/// can name it. `key` verifies the checkpoint that covers the receipt. `conn` is under the role `pii_vault_lookup`.
///
/// # Errors
/// [`LookupError`]. A refusal is none.
pub async fn run<W: KeyWrapper>(
    conn: &mut Connection,
    wrapper: impl FnOnce(Uuid) -> W,
    values: &Values,
    purpose: &Purpose,
    key: Option<&CheckpointKey>,
) -> Result<Looked, LookupError> {
    let receipt = lookups::record(conn, values.field(), values.len(), &purpose.reason, &purpose.case).await?;
    let Decision { vault, seq, refusal, .. } = receipts::arm_receipt(conn, receipt).await?;
    let refused = |refusal| Ok(Looked { receipt, seq, tokens: Err(refusal) });
    if let Some(refusal) = refusal {
        return refused(refusal);
    }
    let coverage = coverage::await_checkpoint(conn, Record::Receipt(receipt), NOTARY).await?;
    if !coverage.holds(vault, seq, key)? {
        // What is refused now would be allowed a moment later, and not be verified.
        receipts::record_refusal(conn, receipt).await?;
        return refused(AccessRefusal::NoCheckpoint);
    }
    let keys = match lookups::fetch_token_keys(conn, receipt).await {
        Ok(keys) => keys,
        Err(error) => {
            let Some(refusal) = error.refusal() else { return Err(error.into()) };
            receipts::record_refusal(conn, receipt).await?;
            return refused(refusal);
        }
    };
    let key = keys.first().ok_or(KeyringError::NoTokenKey)?;
    let key = TokenKey::unwrap(&wrapper(receipt), vault, key).await?;
    let tokens = values.tokens(&key.tokenizer);
    let told: Vec<_> = tokens.iter().map(Token::to_string).collect();
    lookups::settle(conn, receipt, &told).await?;
    Ok(Looked { receipt, seq, tokens: Ok(tokens) })
}
