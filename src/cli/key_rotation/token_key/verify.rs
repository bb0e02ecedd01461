use std::fmt;
use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use super::run::current;
use super::verify_done;
use crate::aws::{Kms, KmsKeys, client};
use crate::cli::config::{DatabaseArgs, KmsArgs, duration};
use crate::cli::exit::ExitStatus;
use crate::cli::key_rotation::run::refused_or;
use crate::cli::key_rotation::wrong_row::WrongRow;
use crate::cli::output::{self, OutputFormat};
use crate::cli::refusal::Refused;
use crate::db::Role;
use crate::db::rotation::token_key::TokenRefusal;
use crate::domain::RotationStep;
use crate::key_rotation::token_key::{self, Verified};
use crate::patience::Patience;

const EXAMPLES: &str = "\
Of a rotation whose `run` has filled all rows, until `finish`: each row has tokens of both keys, and
there is one new token for each old one and the other way around, of ips and of device ids. Then
both show the same groups of duplicates. Rows that `run` listed as tampered with are left out of
that. Some rows, chosen at random, are opened, and the tokens of both keys computed once more; the
audit log has which ones before that.

After `finish` or `rollback`, of the last one that is done: no row has tokens of the key that was
given up, in either slot, and each has those of the key that stays. Those are computed once more of
some rows, too.

It reads the whole table once; it changes nothing and holds up nobody.

The login needs the role pii_vault_reseal. The AWS identity needs kms:Decrypt on the token key and
on the data key, but for --sample 0.

Exit status 3: refused: no rotation has filled its rows, or one is filling or emptying them still,
or no checkpoint covers the record. 4: it is not so, and what differs, or is left, is told.

Examples:
  pii-vault key-rotation token-key verify
  pii-vault key-rotation token-key verify --sample 1000 --output json";

/// Lines that people read; JSON has all that were listed.
const SHOWN: usize = 20;

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// How many rows to open
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u16).range(0..=1000))]
    sample: u16,
    /// How long KMS or PostgreSQL may be away before it gives up
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    patience: Duration,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    kms: KmsArgs,
}

pub(in crate::cli) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let pool = args.database.server()?.pool(Role::Reseal, 2).await?;
    let Some(job) = current(&pool).await? else {
        return verify_done::run(&pool, args.sample, args.patience, args.kms, format).await;
    };
    if !matches!(job.step, RotationStep::Filled | RotationStep::CutOver) {
        return Refused::from(TokenRefusal::NotFilled).tell(format);
    }
    let kms = Kms::for_job(&client::load().await, job.id, KmsKeys::from(args.kms));
    let found = match token_key::verify(&pool, kms, &job, args.sample, Patience(args.patience)).await {
        Ok(Ok(found)) => found,
        Ok(Err(refusal)) => return Refused::from(refusal).tell(format),
        Err(error) => return refused_or(error, "it is not known whether the tokens are right", format),
    };
    let shown = Shown::new(job.id, &found);
    output::result(format, &shown, &shown)?;
    Ok(if found.holds() { ExitStatus::Done } else { ExitStatus::IntegrityBroken })
}

#[derive(Serialize)]
struct Shown {
    job: Uuid,
    verified: bool,
    rows: i64,
    without_new: i64,
    passed_over: i64,
    without_old: i64,
    of_other_keys: i64,
    mismatched: i64,
    ips: Distinct,
    device_ids: Distinct,
    sampled: u64,
    wrong: Vec<WrongRow>,
    differences: Vec<WrongRow>,
}

#[derive(Serialize)]
struct Distinct {
    old: i64,
    new: i64,
    pairs: i64,
}

impl Shown {
    fn new(job: Uuid, found: &Verified) -> Self {
        let report = &found.report;
        Self {
            job,
            verified: found.holds(),
            rows: report.row_count,
            without_new: report.only_old,
            passed_over: report.passed_over,
            without_old: report.only_new,
            of_other_keys: report.other_keys,
            mismatched: report.mismatched,
            ips: Distinct { old: report.old_ips, new: report.new_ips, pairs: report.ip_pairs },
            device_ids: Distinct {
                old: report.old_device_ids,
                new: report.new_device_ids,
                pairs: report.device_id_pairs,
            },
            sampled: found.proof.opened(),
            wrong: found.proof.wrong.iter().map(WrongRow::from).collect(),
            differences: found.differences.iter().map(WrongRow::from).collect(),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "rows              {}", self.rows)?;
        for (what, count) in [
            ("without new", self.without_new),
            ("  did not open", self.passed_over),
            ("without old", self.without_old),
            ("of other keys", self.of_other_keys),
            ("tampered with", self.mismatched),
        ] {
            if count > 0 {
                writeln!(f, "{what:<18}{count}")?;
            }
        }
        for (what, Distinct { old, new, pairs }) in [("ips", &self.ips), ("device ids", &self.device_ids)] {
            writeln!(f, "{what:<18}{old} old tokens, {new} new, {pairs} pairs")?;
        }
        writeln!(f, "opened            {} rows, {} of them wrong", self.sampled, self.wrong.len())?;
        for line in self.wrong.iter().chain(&self.differences).take(SHOWN) {
            writeln!(f, "DIFFERS           {}  {}  {}", line.create_date, line.event_id, line.why)?;
        }
        let more = (self.wrong.len() + self.differences.len()).saturating_sub(SHOWN);
        if more > 0 {
            writeln!(f, "                  and {more} more: --output json lists a thousand")?;
        }
        if self.verified {
            writeln!(f, "verified: both keys' tokens show the same duplicates, of every row")
        } else {
            writeln!(f, "not verified: see `pii-vault key-rotation status`; after mending: token-key run --retry")
        }
    }
}
