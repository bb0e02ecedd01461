use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use super::keys::{Shown, table};
use crate::aws::{Kms, KmsKeys, client};
use crate::cli::config::{DatabaseArgs, KmsArgs, duration};
use crate::cli::exit::ExitStatus;
use crate::cli::key_rotation::run::refused_or;
use crate::cli::key_rotation::wrong_row::WrongRow;
use crate::cli::output::{self, OutputFormat};
use crate::db::rotation::{all, data_key};
use crate::db::{Role, token_keys, vault};
use crate::domain::{RotationKind, RotationStep};
use crate::key_rotation::{Proof, prove};
use crate::patience::Patience;

const EXAMPLES: &str = "\
Counts the rows under the keys that the rotation left. Then opens some rows that were sealed since,
at random, and compares their tokens with the values; the audit log has which ones before that. Rows
that were there when it began come first, and each must have tokens of the active token key.

Without a rotation ever, it counts the rows under all decrypt-only keys, and opens none.

The login needs the role pii_vault_reseal. The AWS identity needs kms:Decrypt on the data and token
keys.

Exit status 1: rows are left, and the rotation is not done, or there was none: run it. 3: refused,
as no checkpoint covers the record. 4: rows are left of a rotation that is done: they do not open,
or were put under its keys since; or a row of the sample does not open, or has another value's
token.

Examples:
  pii-vault key-rotation data-key verify
  pii-vault key-rotation data-key verify --sample 5000 --output json";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// The rotation; without it, the latest one of data keys
    #[arg(long, value_name = "UUID")]
    job: Option<Uuid>,
    /// How many rows to open; 0 opens none
    #[arg(long, value_name = "N", default_value = "200", value_parser = clap::value_parser!(i32).range(0..=10_000))]
    sample: i32,
    /// How long KMS or PostgreSQL may be away before it gives up
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    patience: std::time::Duration,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    kms: KmsArgs,
}

pub(super) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let pool = args.database.server()?.pool(Role::Reseal, 1).await?;
    let (job, step, keys, vault, active) = {
        let mut conn = pool.get().await?;
        let mut jobs = all(&mut conn).await?.into_iter().filter(|job| job.kind == RotationKind::DataKey);
        let job = jobs.find(|job| args.job.is_none_or(|id| job.id == id));
        let (job, step) = job.map(|job| (job.id, job.step)).unzip();
        if args.job.is_some() && job.is_none() {
            anyhow::bail!("there is no such rotation of data keys; `pii-vault key-rotation status` lists them");
        }
        let active = token_keys::active(&mut conn).await?;
        (job, step, data_key::count(&mut conn, job).await?, vault::id(&mut conn).await?, active)
    };
    let proof = match job {
        Some(job) if args.sample > 0 => {
            let kms = Kms::for_job(&client::load().await, job, KmsKeys::from(args.kms));
            match prove(&pool, kms, vault, job, active.as_slice(), args.sample, Patience(args.patience)).await {
                Ok(proof) => proof,
                Err(error) => return refused_or(error, "the sample was not opened", format),
            }
        }
        _ => Proof::default(),
    };
    let left = keys.iter().filter(|key| key.row_count > 0).map(Shown::from).collect();
    let rows_left = keys.iter().map(|key| key.row_count).sum();
    let report = Report::new(job, keys.len(), rows_left, left, &proof);
    output::result(format, &report, &report)?;
    Ok(match (proof.wrong.is_empty(), rows_left) {
        (false, _) => ExitStatus::IntegrityBroken,
        (true, 0) => ExitStatus::Done,
        // Nothing of ours leaves them so.
        (true, _) if step == Some(RotationStep::Done) => ExitStatus::IntegrityBroken,
        (true, _) => ExitStatus::Failed,
    })
}

#[derive(Serialize)]
struct Report {
    job: Option<Uuid>,
    keys: usize,
    rows_left: i64,
    left: Vec<Shown>,
    opened: u64,
    wrong: Vec<WrongRow>,
}

impl Report {
    fn new(job: Option<Uuid>, keys: usize, rows_left: i64, left: Vec<Shown>, proof: &Proof) -> Self {
        let wrong = proof.wrong.iter().map(WrongRow::from).collect();
        Self { job, keys, rows_left, left, opened: proof.good, wrong }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old keys          {}", self.keys)?;
        writeln!(f, "rows under them   {}", self.rows_left)?;
        if !self.left.is_empty() {
            write!(f, "{}", table(&self.left))?;
        }
        writeln!(f, "sample            {} rows opened, with the tokens of their values", self.opened)?;
        for row in &self.wrong {
            writeln!(f, "  {}  {}  {}", row.event_id, row.create_date, row.why)?;
        }
        if self.rows_left > 0 {
            writeln!(f, "next              pii-vault key-rotation data-key run")?;
        }
        Ok(())
    }
}
