use crate::aws::KeyWrapper;
use crate::db::rotation::Job;
use crate::db::rotation::token_key::{self, TokenDifference, TokenRefusal, TokenReport, TokensLeft};
use crate::db::{Pool, vault};
use crate::domain::KeyId;
use crate::key_rotation::waited::waited;
use crate::key_rotation::{Proof, RotationError, prove};
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
    pub proof: Proof,
}

impl Verified {
    /// Whether each row has tokens of both keys, and both show the same groups of duplicates. Rows that were found to
    /// have another's tokens are left out; they are listed with the rotation.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.report.holds() && self.proof.wrong.is_empty()
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
    let report = match waited(pool, patience, async |conn| token_key::report(conn, job.id).await).await? {
        Ok(report) => report,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let differences = match report.holds() {
        true => Vec::new(),
        false => waited(pool, patience, async |conn| token_key::differences(conn, job.id, LISTED).await).await?,
    };
    let both: Vec<_> = job.old_keys.iter().copied().chain(job.new_key).map(KeyId).collect();
    let proof = open_some(pool, wrapper, job, &both, sample, patience).await?;
    Ok(Ok(Verified { report, differences, proof }))
}

/// What was found of a rotation that is done.
#[derive(Debug)]
pub struct Leftover {
    /// Counts over all rows.
    pub left: TokensLeft,
    /// Rows that were opened.
    pub proof: Proof,
}

impl Leftover {
    /// Whether nothing is left of the key that was given up.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.left.is_nothing() && self.proof.wrong.is_empty()
    }
}

/// Counts what a rotation left behind that is done, and opens `sample` rows: each has the tokens of the key that stays.
///
/// # Errors
/// [`RotationError`].
pub async fn verify_done<W: KeyWrapper>(
    pool: &Pool,
    wrapper: W,
    job: &Job,
    sample: u16,
    patience: Patience,
) -> Result<Leftover, RotationError> {
    let left = waited(pool, patience, async |conn| token_key::left(conn, job.id).await).await?;
    let kept: Vec<_> = job.kept_and_given_up().map(|(kept, _)| kept).into_iter().collect();
    let proof = open_some(pool, wrapper, job, &kept, sample, patience).await?;
    Ok(Leftover { left, proof })
}

/// Opens `sample` rows of a rotation: each has the tokens of `keys`.
async fn open_some<W: KeyWrapper>(
    pool: &Pool,
    wrapper: W,
    job: &Job,
    keys: &[KeyId],
    sample: u16,
    patience: Patience,
) -> Result<Proof, RotationError> {
    if sample == 0 {
        return Ok(Proof::default());
    }
    let vault = waited(pool, patience, vault::id).await?;
    prove(pool, wrapper, vault, job.id, keys, sample.into(), patience).await
}
