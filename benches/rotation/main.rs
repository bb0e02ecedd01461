//! What rotating keys costs: speed, memory, and what it leaves of the table, on a PostgreSQL and a KMS of its own.
//!
//! ```text
//! make bench                                                 some minutes
//! make bench BENCH='--rows 1000000 --days 10 --rate 5000'    an hour
//! ```
//!
//! Every round begins on a copy of the same table, page by page the same, and is compared with a floor of the same run
//! on the same machine: absolute rates are this machine's, ratios travel further. PostgreSQL has its own defaults, so a
//! commit waits for the disk. KMS is a stand-in in Python, which answers some hundred calls a second.
//! It needs `demo/bootstrap` to have run once.

mod bed;
mod by_hand;
mod floor;
mod keys;
mod report;
mod round;
mod rows;
#[path = "../../tests/stack/mod.rs"]
mod stack;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use bed::Bed;
use report::say;
use round::Left;

#[derive(Clone, Copy)]
struct Options {
    rows: u32,
    /// Rows are spread over so many.
    days: u32,
    /// Of the round that does not go as fast as it can.
    rate: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    let measured = match Options::parse(std::env::args().skip(1)) {
        // What `cargo test --benches` starts.
        Ok(None) => Ok(()),
        Ok(Some(options)) => measure(options).await,
        Err(error) => Err(error),
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("rotation: {error:#}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

impl Options {
    /// `None` where cargo did not say that this is to measure.
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>> {
        let (mut options, mut is_bench) = (Self { rows: 20_000, days: 1, rate: 2_000 }, false);
        while let Some(arg) = args.next() {
            let mut number = || -> Result<u32> { Ok(args.next().with_context(|| format!("{arg} what?"))?.parse()?) };
            match arg.as_str() {
                "--bench" => is_bench = true,
                "--rows" => options.rows = number()?,
                "--days" => options.days = number()?.clamp(1, 31),
                "--rate" => options.rate = number()?,
                other => bail!("{other}? There are --rows N, --days N and --rate N"),
            }
        }
        options.rows -= options.rows % options.days;
        Ok(is_bench.then_some(options))
    }
}

async fn measure(Options { rows, days, rate }: Options) -> Result<()> {
    let bed = Bed::make().await?;
    report::machine(&bed).await?;
    bed::load(&bed, rows, days).await?;
    let Left { table, .. } = Left::of(&bed.connect(bed::LOADED).await?, 0).await?;
    say(&format!("table: {rows} rows of {days} days, {} bytes each without indexes", table / i64::from(rows)))?;
    keys::kek(&bed).await?;
    rows::data_key(&bed, rows.into(), rate).await?;
    rows::token_key(&bed, rows.into()).await
}
