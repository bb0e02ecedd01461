use std::time::Duration;

use super::TOKEN_KEYS;
use super::error::CutOverError;
use super::session::Session;
use crate::db::rotation::token_key::{self, Retirement, decrypt_only};
use crate::db::{Role, Server};
use crate::domain::KeyId;

/// Takes token keys out of all use: those that are named, or all that make no tokens any more. What became of each.
///
/// # Errors
/// [`CutOverError`]. Keys before the one that failed are retired.
pub async fn retire(
    server: &Server,
    named: &[KeyId],
    reason: &str,
    patience: Duration,
) -> Result<Vec<(KeyId, Retirement)>, CutOverError> {
    let mut session = Session { conn: &mut server.connect(Role::Owner).await?, patience, told: &|_| () };
    let keys = if named.is_empty() { decrypt_only(session.conn).await? } else { named.to_vec() };
    let mut retired = Vec::new();
    for key in keys {
        let became = session.until_done(async |session| match token_key::retire(session.conn, key, reason).await? {
            Retirement::LockedOut => Err(session.locked_out("to retire a token key", TOKEN_KEYS).await?),
            became => Ok(became),
        });
        retired.push((key, became.await?));
    }
    Ok(retired)
}
