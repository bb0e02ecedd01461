use std::collections::BTreeMap;
use std::sync::Arc;

use super::backfill::Shared;
use super::open::Computed;
use crate::aws::KeyWrapper;
use crate::db::Pool;
use crate::db::rotation::token_key::{self, TokenDifference, TokenRefusal, TokenReport, TokenRow, Tokens};
use crate::db::rotation::{Job, Position};
use crate::domain::RotationFailure;
use crate::key_rotation::{RotationError, Wrong};
use crate::patience::Patience;

/// Differences that are listed; the report counts them all.
const LISTED: i32 = 1000;

/// What was found of a rotation that has filled its rows.
#[derive(Debug)]
pub struct Verified {
    /// Counts over all rows.
    pub report: TokenReport,
    /// Rows that they do not add up for, a thousand at most.
    pub differences: Vec<TokenDifference>,
    /// Rows that were opened.
    pub sampled: usize,
    /// Those among them that did not open, or have other tokens than those of their values.
    pub wrong: Vec<Wrong>,
}

impl Verified {
    /// Whether each row has tokens of both keys, and both show the same groups of duplicates. Rows that were found to
    /// have another's tokens are left out; they are listed with the rotation.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.report.holds() && self.wrong.is_empty()
    }
}

/// Compares the tokens of all rows, and opens `sample` of them. Needs [`RotationStep::Filled`] or
/// [`RotationStep::CutOver`].
///
/// [`RotationStep::Filled`]: crate::domain::RotationStep::Filled
/// [`RotationStep::CutOver`]: crate::domain::RotationStep::CutOver
///
/// # Errors
/// [`RotationError`]. A refusal is none.
pub async fn verify<W: KeyWrapper>(
    pool: &Pool,
    wrapper: W,
    job: &Job,
    sample: u16,
    patience: Patience,
) -> Result<Result<Verified, TokenRefusal>, RotationError> {
    let may_pass = RotationError::may_pass;
    let report = || async { Ok::<_, RotationError>(token_key::report(&mut *pool.get().await?, job.id).await?) };
    let report = match patience.wait_out(may_pass, || (), report).await? {
        Ok(report) => report,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let differences = match report.holds() {
        true => Vec::new(),
        false => {
            let list = || async {
                Ok::<_, RotationError>(token_key::differences(&mut *pool.get().await?, job.id, LISTED).await?)
            };
            patience.wait_out(may_pass, || (), list).await?
        }
    };
    let mut found = Verified { report, differences, sampled: 0, wrong: Vec::new() };
    if sample > 0 {
        let take = || async {
            Ok::<_, RotationError>(token_key::sample(&mut *pool.get().await?, job.id, sample.into()).await?)
        };
        let sample = patience.wait_out(may_pass, || (), take).await?;
        found.sampled = sample.len();
        let new: BTreeMap<_, _> = sample.iter().map(|(row, new)| (row.event.position(), new.clone())).collect();
        let rows: Vec<_> = sample.into_iter().map(|(row, _)| row).collect();
        let wrapper = Arc::new(wrapper);
        let shared = Arc::new(patience.wait_out(may_pass, || (), || Shared::load(pool, &wrapper, job)).await?);
        let opened = patience.wait_out(may_pass, || (), || shared.clone().open(rows.clone())).await?;
        found.wrong = opened.0.into_iter().filter_map(|(row, computed)| wrong(&row, computed, &new)).collect();
    }
    Ok(Ok(found))
}

fn wrong(
    row: &TokenRow,
    computed: Result<Computed, RotationFailure>,
    new: &BTreeMap<Position, Tokens>,
) -> Option<Wrong> {
    let why = match computed {
        Ok(Computed { old_is_right, new: (ip, device_id) }) => {
            let new_is_right = new.get(&row.event.position()) == Some(&Tokens(Some(ip), Some(device_id)));
            (!old_is_right || !new_is_right).then_some(RotationFailure::TokenMismatch)?
        }
        Err(why) => why,
    };
    Some(Wrong { position: row.event.position(), why })
}
