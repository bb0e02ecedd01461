//! Wrapping keys under another KMS key, or under the newest material of the same: by KMS's `ReEncrypt`, so that no key
//! is seen unwrapped.
//!
//! Guaranteed: a key keeps its encryption context on both sides, so none gets from one purpose to another; one that
//! somebody else wrapped anew meanwhile stays as it is; each key costs one call of KMS, whatever it seals; what does
//! not unwrap is listed and passed over. While KMS is away, throttles, or has a key disabled, the call is tried again
//! with growing pauses for as long as patience lasts, beside the three quick tries of the SDK.

mod calls;
mod target;
mod verify;

use diesel_async::AsyncConnection as _;
use futures_util::{StreamExt as _, stream};

pub use calls::Calls;
pub use target::target;
pub use verify::{Unwrapped, Verified, verify};

use super::error::RotationError;
use super::runner::{Hands, Worker};
use crate::aws::{AwsError, AwsFault, KeyRewrapper};
use crate::db::rotation::kek::{self, Changed, Wrapped};
use crate::db::rotation::{self, Failed, Range};
use crate::domain::RotationFailure;
use calls::Answer;

/// Calls of KMS that a page, hence a worker, has under way at once.
pub const AT_ONCE: usize = 8;

/// Wraps the keys of a purpose anew.
pub struct Rewrap<W> {
    calls: Calls<W>,
    target: String,
}

/// What became of the keys of a page.
#[derive(Default)]
struct Page {
    changed: Vec<Changed>,
    failed: Vec<Failed>,
    ended_by: Option<RotationError>,
}

impl<W: KeyRewrapper> Rewrap<W> {
    /// By the KMS key `target` (ARN).
    pub fn new(calls: Calls<W>, target: String) -> Self {
        Self { calls, target }
    }

    /// One that cannot be wrapped for another reason than itself ends the page; what was wrapped is stored nonetheless.
    async fn wrap(&self, keys: Vec<Wrapped>, hands: &Hands) -> Page {
        let stop = hands.stop.child_token();
        let answers: Vec<_> = stream::iter(keys)
            .map(|key| async {
                let answer = self.calls.rewrap(&key, &self.target, &stop).await;
                if matches!(answer, Answer::Ends(_)) {
                    stop.cancel();
                }
                (key, answer)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut page = Page::default();
        for (key, answer) in answers {
            match answer {
                Answer::Wrapped(new) if new.kms_key == self.target => page.changed.push(Changed {
                    id: key.id(),
                    old: key.wrapped_key,
                    new: new.wrapped,
                    kms_key: new.kms_key,
                }),
                Answer::Wrapped(_) => {
                    page.ended_by = Some(AwsError::new("kms:ReEncrypt", AwsFault::Malformed).into());
                }
                Answer::DoesNotUnwrap => page.failed.push(Failed {
                    position: key.position,
                    key: key.id(),
                    why: RotationFailure::KeyDoesNotUnwrap,
                }),
                Answer::Ends(error) => page.ended_by = Some(error),
                Answer::NotAsked => {}
            }
        }
        page
    }

    async fn store(&self, hands: &Hands, page: &Page) -> Result<(), RotationError> {
        let mut conn = hands.pool.get().await?;
        let stored = conn.transaction(async |conn| {
            let changed = kek::store(conn, hands.job, &page.changed).await?;
            rotation::settle(conn, hands.job, hands.runner, changed, &page.failed).await
        });
        Ok(stored.await?)
    }
}

impl<W: KeyRewrapper> Worker for Rewrap<W> {
    async fn work(&self, hands: &Hands, range: Range) -> Result<(), RotationError> {
        let keys = kek::fetch(&mut *hands.pool.get().await?, hands.job, range).await?;
        let page = self.wrap(keys, hands).await;
        if !(page.changed.is_empty() && page.failed.is_empty()) {
            // Here and not by doing the page again: KMS is not asked twice. What was stored unheard is not there to be
            // stored again.
            let may_pass = |error: &RotationError| error.may_pass_amid_work(true) && !hands.stop.is_cancelled();
            let stored = self.calls.patience.wait_out(may_pass, || (), || self.store(hands, &page)).await;
            // The run does not wait for it once more.
            stored.map_err(|error| if may_pass(&error) { RotationError::WaitedOut(error.into()) } else { error })?;
        }
        page.ended_by.map_or(Ok(()), Err)
    }
}
