use std::time::Duration;

use super::error::CutOverError;
use super::trying::Trying;
use crate::db::rotation::cut_over::{self, Retirement, decrypt_only, holders};
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
    let mut conn = server.connect(Role::Owner).await?;
    let keys = if named.is_empty() { decrypt_only(&mut conn).await? } else { named.to_vec() };
    let mut retired = Vec::new();
    for key in keys {
        let mut trying = Trying::new(patience);
        let became = loop {
            match cut_over::retire(&mut conn, key, reason).await? {
                Retirement::LockedOut if trying.again().await => {}
                Retirement::LockedOut => {
                    let holders = holders(&mut conn, &["pii_vault.token_keys"]).await?;
                    return Err(CutOverError::InTheWay { what: "to retire a token key", holders });
                }
                became => break became,
            }
        };
        retired.push((key, became));
    }
    Ok(retired)
}
