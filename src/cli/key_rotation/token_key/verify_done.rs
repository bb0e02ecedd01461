//! `verify` of a rotation that is done: whether anything is left of the key that was given up.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use crate::aws::{Kms, KmsKeys, client};
use crate::cli::config::KmsArgs;
use crate::cli::exit::ExitStatus;
use crate::cli::key_rotation::run::refused_or;
use crate::cli::key_rotation::wrong_row::WrongRow;
use crate::cli::output::{self, OutputFormat};
use crate::cli::refusal::Refused;
use crate::db::Pool;
use crate::db::rotation::token_key::TokenRefusal;
use crate::db::rotation::{Job, all};
use crate::domain::{RotationKind, RotationStep};
use crate::key_rotation::token_key::{self, Leftover};
use crate::patience::Patience;

pub(super) async fn run(
    pool: &Pool,
    sample: u16,
    patience: Duration,
    kms: KmsArgs,
    format: OutputFormat,
) -> anyhow::Result<ExitStatus> {
    let is_it = |job: &Job| job.kind == RotationKind::TokenKey && job.step == RotationStep::Done;
    // The latest comes first.
    let last = all(&mut *pool.get().await?).await?.into_iter().find(is_it);
    let Some((job, (kept, given_up))) = last.and_then(|job| job.kept_and_given_up().map(|keys| (job, keys))) else {
        return Refused::from(TokenRefusal::NotFilled).tell(format);
    };
    let kms = Kms::for_job(&client::load().await, job.id, KmsKeys::from(kms));
    let found = match token_key::verify_done(pool, kms, &job, sample, Patience(patience)).await {
        Ok(found) => found,
        Err(error) => return refused_or(error, "it is not known whether anything is left", format),
    };
    let shown = Shown::new(job.id, kept.0, given_up.0, &found);
    output::result(format, &shown, &shown)?;
    Ok(if found.is_nothing() { ExitStatus::Done } else { ExitStatus::IntegrityBroken })
}

#[derive(Serialize)]
struct Shown {
    job: Uuid,
    verified: bool,
    /// The token key that stays.
    key: Uuid,
    /// The one that was given up.
    given_up: Uuid,
    rows: i64,
    of_given_up: i64,
    without_key: i64,
    of_other_keys: i64,
    did_not_open: i64,
    sampled: u64,
    wrong: Vec<WrongRow>,
}

impl Shown {
    fn new(job: Uuid, key: Uuid, given_up: Uuid, found: &Leftover) -> Self {
        let Leftover { left, proof } = found;
        Self {
            job,
            verified: found.is_nothing(),
            key,
            given_up,
            rows: left.row_count,
            of_given_up: left.of_given_up,
            without_key: left.without_kept,
            of_other_keys: left.of_other_keys,
            did_not_open: left.not_opened,
            sampled: proof.opened(),
            wrong: proof.wrong.iter().map(WrongRow::from).collect(),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, given_up, .. } = self;
        writeln!(f, "rows              {}", self.rows)?;
        for (what, count) in [
            ("of key given up", self.of_given_up),
            ("without kept key", self.without_key),
            ("of other keys", self.of_other_keys),
            ("did not open", self.did_not_open),
        ] {
            if count > 0 {
                writeln!(f, "{what:<18}{count}")?;
            }
        }
        writeln!(f, "opened            {} rows, {} of them wrong", self.sampled, self.wrong.len())?;
        for line in &self.wrong {
            writeln!(f, "DIFFERS           {}  {}  {}", line.create_date, line.event_id, line.why)?;
        }
        if self.verified {
            return writeln!(f, "verified: no row has tokens of key {given_up}, and each has those of key {key}");
        }
        if self.of_given_up > 0 {
            writeln!(f, "not verified: {} rows have tokens of key {given_up}, which was given up", self.of_given_up)?;
        }
        if self.without_key + self.of_other_keys > 0 {
            writeln!(f, "not verified: rows lack tokens of key {key}, or have those of others")?;
        }
        if !self.wrong.is_empty() {
            writeln!(f, "not verified: rows do not open, or have tokens of other values")?;
        }
        writeln!(f, "next: nothing of pii-vault leaves them so; find out who changed them")
    }
}
