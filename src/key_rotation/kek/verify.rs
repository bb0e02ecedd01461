use futures_util::{StreamExt as _, stream};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::AT_ONCE;
use super::calls::{Answer, Calls};
use crate::aws::KeyRewrapper;
use crate::db::rotation::kek::{self, Wrapping};
use crate::db::{Connection, rotation};
use crate::domain::{KeyId, RotationKind, RotationStep};
use crate::key_rotation::error::RotationError;

/// What wraps the keys of a purpose, and how a sample of them fared.
#[derive(Debug)]
pub struct Verified {
    /// What wraps them, by the database.
    pub wrapping: Vec<Wrapping>,
    /// When the last finished rotation to the newest material of the KMS key in question was recorded: what was wrapped
    /// before that is under an older one. `None`: there was none.
    pub newest_since: Option<OffsetDateTime>,
    /// The sample.
    pub sampled: u64,
    /// Those of it that KMS unwraps under their context.
    pub unwrapped: u64,
    /// Those of it that an older material of their KMS key wraps, where KMS tells.
    pub older_material: u64,
    /// Those of it that KMS does not unwrap.
    pub failed: Vec<Unwrapped>,
}

/// A key that does not unwrap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwrapped {
    /// The key.
    pub key: KeyId,
    /// ARN of the KMS key that should.
    pub kms_key: String,
}

/// Looks at what wraps the keys, and has KMS wrap up to `most` of them anew by the key that wraps them already. The
/// result is thrown away: that there is one proves that they unwrap. `target` (ARN) is the KMS key in question.
///
/// # Errors
/// [`RotationError`].
pub async fn verify<W: KeyRewrapper>(
    conn: &mut Connection,
    calls: &Calls<W>,
    target: &str,
    most: i32,
) -> Result<Verified, RotationError> {
    let wrapping = kek::wrapping(conn, calls.purpose).await?;
    let newest_since = rotation::all(conn).await?.into_iter().find_map(|job| {
        let is_it = job.kind == RotationKind::Kek
            && job.purpose == calls.purpose
            && job.step == RotationStep::Done
            // One of some keys says nothing of the others.
            && job.old_keys.is_empty()
            && job.target_kms_key.as_deref() == Some(target);
        job.wrapped_before.filter(|_| is_it)
    });
    let keys = kek::sample(conn, calls.purpose, most).await?;
    let mut verified = Verified {
        wrapping,
        newest_since,
        sampled: u64::try_from(keys.len()).unwrap_or(u64::MAX),
        unwrapped: 0,
        older_material: 0,
        failed: Vec::new(),
    };
    let stop = &CancellationToken::new();
    let mut answers = stream::iter(keys)
        .map(|key| async move { (calls.rewrap(&key, &key.kms_key, stop).await, key) })
        .buffer_unordered(AT_ONCE);
    while let Some((answer, key)) = answers.next().await {
        match answer {
            Answer::Wrapped(again) => {
                verified.unwrapped += 1;
                verified.older_material += u64::from(again.same_material == Some(false));
            }
            Answer::DoesNotUnwrap => verified.failed.push(Unwrapped { key: key.id(), kms_key: key.kms_key }),
            Answer::Ends(error) => return Err(error),
            Answer::NotAsked => {}
        }
    }
    drop(answers);
    verified.failed.sort_by_key(|failed| failed.key);
    Ok(verified)
}
