//! Rotations that change every row: of data keys, and of the token key.

use anyhow::Result;

use crate::bed::{Bed, LOADED, Who, run};
use crate::by_hand;
use crate::floor::{Change, floor};
use crate::report::{self, Line, say};
use crate::round::{Left, Round, measure};

const BATCHES: [&str; 3] = [DEFAULT, "500", "2000"];
/// As a run does by itself, this and the next.
const DEFAULT: &str = "100";
const WORKERS: usize = 2;
/// The database of a round.
const ROUND: &str = "round";
const FILLED: &str = "filled";

/// One kind of work on all rows.
struct Work {
    title: &'static str,
    from: &'static str,
    change: Change,
    who: Who,
    args: &'static [&'static str],
    total: i64,
}

pub(crate) async fn data_key(bed: &Bed, total: i64, rate: u32) -> Result<()> {
    let work = Work {
        title: "data-key run: every row opened, sealed anew and put back",
        from: LOADED,
        change: Change::Seals,
        who: Who::Reseal,
        args: &["key-rotation", "data-key", "run", "--max-age", "0", "--reason", "bench"],
        total,
    };
    let floor = work.table(bed, None).await?;
    for options in [vec!["--workers", "1"], vec!["--workers", "4"], vec!["--rate", &rate.to_string()]] {
        work.line(bed, &options, floor, None).await?;
    }
    bed.copy(LOADED, ROUND).await?;
    let (by_hand, crypto) = by_hand::rates(bed, ROUND, total.min(2_000)).await?;
    bed.remove(ROUND).await?;
    let percent = 100.0 * by_hand / floor;
    say(&format!("{:<47} {by_hand:>8.0} {percent:>8.0}%", "row by row, as written by hand, one connection"))?;
    say(&format!("{:<47} {crypto:>8.0} {:>8.0}%", "opening and sealing alone, one thread", 100.0 * crypto / floor))
}

/// Back-fill, then what empties the old slot.
pub(crate) async fn token_key(bed: &Bed, total: i64) -> Result<()> {
    let fill = Work {
        title: "token-key run: every row opened, both tokens computed, the second slot filled",
        from: LOADED,
        change: Change::SecondTokens,
        who: Who::Reseal,
        args: &["key-rotation", "token-key", "run", "--reason", "bench"],
        total,
    };
    fill.table(bed, Some(FILLED)).await?;
    let cut_over = ["key-rotation", "token-key", "cut-over"];
    let mut cut_over = bed.command(FILLED, Who::Administrator, &cut_over);
    tokio::task::spawn_blocking(move || run(&mut cut_over)).await??;
    let filled = bed.connect(FILLED).await?;
    filled.batch_execute("VACUUM pii_vault.login_events").await?;
    drop(filled);
    let empty = Work {
        title: "token-key finish: the first slot emptied",
        from: FILLED,
        change: Change::NoFirstTokens,
        who: Who::Administrator,
        args: &["key-rotation", "token-key", "finish"],
        total,
    };
    empty.table(bed, None).await?;
    bed.remove(FILLED).await
}

impl Work {
    /// A floor and a run for each size of a page; returns the floor of the default one, and keeps its table as `keep`.
    async fn table(&self, bed: &Bed, keep: Option<&str>) -> Result<f64> {
        let before = Left::of(&bed.connect(self.from).await?, 0).await?;
        report::head(self.title, &before)?;
        let mut default = 0.0;
        for batch in BATCHES {
            bed.copy(self.from, ROUND).await?;
            let round = floor(bed, ROUND, self.change, batch.parse()?, WORKERS).await?;
            bed.remove(ROUND).await?;
            let floor = round.rate;
            let options = format!("--batch {batch}");
            report::line(&Line { what: "plain UPDATE, the floor", options, round, floor, calls: None }, &before)?;
            let is_default = batch == DEFAULT;
            self.line(bed, &["--batch", batch], floor, keep.filter(|_| is_default)).await?;
            if is_default {
                default = floor;
            }
        }
        Ok(default)
    }

    async fn line(&self, bed: &Bed, options: &[&str], floor: f64, keep: Option<&str>) -> Result<()> {
        let before = Left::of(&bed.connect(self.from).await?, 0).await?;
        let database = keep.unwrap_or(ROUND);
        bed.copy(self.from, database).await?;
        let (round, calls) = self.run(bed, database, options).await?;
        if keep.is_none() {
            bed.remove(database).await?;
        }
        report::line(&Line { what: "pii-vault", options: options.join(" "), round, floor, calls: Some(calls) }, &before)
    }

    async fn run(&self, bed: &Bed, database: &str, options: &[&str]) -> Result<(Round, usize)> {
        let client = bed.connect(database).await?;
        let calls = bed.kms_calls()?;
        let mut command = bed.command(database, self.who, &[self.args, options].concat());
        let mut round = measure(&client, &mut command, self.total).await?;
        round.left = Left::of(&client, self.total).await?;
        Ok((round, bed.kms_calls()? - calls))
    }
}
