use super::calls::{Calls, is_of_the_key};
use crate::aws::{AwsError, KeyRewrapper};
use crate::db::Connection;
use crate::db::rotation::kek;
use crate::key_rotation::error::RotationError;

/// Keys that are tried, should some not unwrap.
const TRIED: i32 = 20;

/// The ARN of the KMS key that `name` (alias, id or ARN) stands for, in KMS's own words: it wraps one of the keys anew,
/// and the result is thrown away. The identity that wraps keys may not ask for descriptions. `None`: there is no key.
///
/// # Errors
/// [`RotationError`], also where KMS is away for longer than patience.
pub async fn target<W: KeyRewrapper>(
    conn: &mut Connection,
    calls: &Calls<W>,
    name: &str,
) -> Result<Option<String>, RotationError> {
    let keys = kek::sample(conn, calls.purpose, TRIED).await?;
    for key in &keys {
        match calls.patience.wait_out(AwsError::is_transient, || (), || calls.once(key, name)).await {
            Ok(wrapped) => return Ok(Some(wrapped.kms_key)),
            // What is wrong with the name is so with every key.
            Err(error) if is_of_the_key(&error, &key.kms_key) && !error.names(name) => {}
            Err(source) => return Err(RotationError::rewrap(key, source)),
        }
    }
    if keys.is_empty() { Ok(None) } else { Err(RotationError::NoneUnwraps(keys.len())) }
}
