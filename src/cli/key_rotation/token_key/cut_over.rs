use std::fmt;
use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use super::refusal::not_done;
use super::watched::watched;
use crate::cli::config::{DatabaseArgs, duration, reason};
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::key_rotation::token_key::{self, CutOver, CutOverOptions};

const EXAMPLES: &str = "\
After `run` has filled all rows. Views, statements and grants on user_logins stay as they are; equal
values are equal as before, and every token is another one. What analysts stored of tokens
elsewhere, materialized views included, they make anew; `token-map` helps.

In order, and each step can be interrupted and repeated: rows are kept from lacking the new tokens;
those are indexed, concurrently; the groups of duplicates are compared under both keys; transactions
are waited for that began to read before; then the view shows the new tokens, all at once. Nobody is
disconnected: who is in the way for longer than --patience is named.

Hot standbys: their open transactions are not seen from here. Let none that reads user_logins run on
while this does.

Until `finish`, both keys' tokens are kept, unmask finds rows by either, and there is `rollback`.

The login needs to be a member of pii_vault_owner, and CREATE on schema public, as the one that ran
`pii-vault init` has.

Exit status 3: refused: no rotation is under way, or it is elsewhere; rows lack new tokens, or do
not open and --accept-unopened is wanting; the login may not replace the view; somebody changed by
hand what the rotation relies on. 4: rows were tampered with, or duplicates would differ.

Examples:
  pii-vault key-rotation token-key cut-over
  pii-vault key-rotation token-key cut-over --patience 2h --reason 'change 4711'";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// Why now, for the record: at most 1000 characters
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
    /// Also where `run` listed rows whose old tokens were tampered with, or rows have none any more: they show the
    /// right ones from here on
    #[arg(long)]
    accept_mismatches: bool,
    /// Also where `run` listed rows that do not open: each gets the new tokens of rows that had the same old ones, or
    /// ones that no value has
    #[arg(long)]
    accept_unopened: bool,
    /// How long others may be in the way of each step
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    patience: Duration,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(in crate::cli) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let server = args.database.server()?;
    let options = CutOverOptions {
        reason: args.reason,
        accept_mismatches: args.accept_mismatches,
        accept_unopened: args.accept_unopened,
        patience: args.patience,
    };
    match watched(async |told| token_key::cut_over(&server, &options, told).await).await {
        Ok(done) => {
            let shown = Shown::from(done);
            output::result(format, &shown, &shown)?;
            Ok(ExitStatus::Done)
        }
        Err(error) => not_done(error, format),
    }
}

#[derive(Serialize)]
struct Shown {
    job: Uuid,
    old_key: Option<Uuid>,
    new_key: Option<Uuid>,
    /// Nothing where it was cut over before.
    rows: Option<i64>,
    distinct_ips: Option<i64>,
    distinct_device_ids: Option<i64>,
    mismatched: Option<i64>,
    unopened: Option<i64>,
}

impl From<CutOver> for Shown {
    fn from(done: CutOver) -> Self {
        let compared = done.compared;
        Self {
            job: done.job,
            old_key: done.old_key,
            new_key: done.new_key,
            rows: compared.map(|report| report.row_count),
            distinct_ips: compared.map(|report| report.ip_pairs),
            distinct_device_ids: compared.map(|report| report.device_id_pairs),
            mismatched: compared.map(|report| report.mismatched + report.only_new),
            unopened: compared.map(|report| report.stand_ins),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = |key: Option<Uuid>| key.map(|key| key.to_string()).unwrap_or_default();
        writeln!(f, "shown             the tokens of key {}", key(self.new_key))?;
        writeln!(f, "kept              those of key {}", key(self.old_key))?;
        if let (Some(rows), Some(ips), Some(devices)) = (self.rows, self.distinct_ips, self.distinct_device_ids) {
            writeln!(f, "compared          {rows} rows: {ips} ips and {devices} device ids, equal under both keys")?;
        } else {
            writeln!(f, "compared          nothing: it was cut over before")?;
        }
        if let Some(rows @ 1..) = self.mismatched {
            writeln!(f, "accepted          {rows} rows whose old tokens were tampered with")?;
        }
        if let Some(rows @ 1..) = self.unopened {
            writeln!(f, "accepted          {rows} rows that do not open")?;
        }
        writeln!(f, "job               {}", self.job)?;
        writeln!(f, "next              finish, once nobody needs the old tokens; until then there is rollback")
    }
}
