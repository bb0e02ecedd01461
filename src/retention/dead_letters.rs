use std::time::Duration;

use crate::db::dead_letters::{self, Expired};
use crate::db::{Connection, DbError};

/// The most dead letters of one transaction.
const BATCH: i64 = 5000;

/// Deletes dead letters that were set aside longer than `age` ago, redriven or not, and says how many.
///
/// `conn` is under the role `pii_vault_owner`. `progress` is called after each batch.
///
/// # Errors
/// [`DbError`]. What was deleted by then stays deleted.
pub async fn delete_dead_letters(
    conn: &mut Connection,
    age: Duration,
    mut progress: impl FnMut(&Expired),
) -> Result<Expired, DbError> {
    let mut deleted = Expired::default();
    loop {
        let batch = dead_letters::delete_older_than(conn, age, BATCH).await?;
        deleted += batch;
        progress(&deleted);
        if batch.letters == 0 {
            return Ok(deleted);
        }
    }
}
