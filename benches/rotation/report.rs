//! What is printed: the machine, then a table for each rotation. Every ratio is to a floor of the same run.

use std::io::{self, Write as _};

use anyhow::Result;

use crate::bed::Bed;
use crate::round::{Left, Round};

/// A line of a table.
pub(crate) struct Line<'a> {
    pub(crate) what: &'a str,
    pub(crate) options: String,
    pub(crate) round: Round,
    /// Rows a second that this one is compared with.
    pub(crate) floor: f64,
    /// Of KMS.
    pub(crate) calls: Option<usize>,
}

pub(crate) fn say(text: &str) -> Result<()> {
    Ok(writeln!(io::stdout(), "{text}")?)
}

/// What the figures depend on.
pub(crate) async fn machine(bed: &Bed) -> Result<()> {
    let client = bed.connect("postgres").await?;
    let sql = "SELECT string_agg(name || ' ' || current_setting(name), ', ' ORDER BY ordinal)
               FROM unnest(ARRAY['server_version', 'fsync', 'synchronous_commit', 'shared_buffers', 'max_wal_size',
                   'autovacuum', 'data_checksums']) WITH ORDINALITY AS s (name, ordinal)";
    let settings: String = client.query_one(sql, &[]).await?.get(0);
    say(&format!("PostgreSQL: {settings}"))?;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("unknown");
    say(&format!("machine: {} cores for all, load at the start {load}", std::thread::available_parallelism()?))
}

/// Names the columns, and shows the table as it is before each round.
pub(crate) fn head(title: &str, before: &Left) -> Result<()> {
    say(&format!(
        "\n{title}\n{:<22} {:<24} {:>8} {:>9} {:>6} {:>14} {:>14} {:>8} {:>9} {:>6}",
        "", "", "rows/s", "of floor", "HOT", "table MB", "indexes MB", "dead", "peak MiB", "KMS"
    ))?;
    say(&format!(
        "{:<22} {:<24} {:>8} {:>9} {:>6} {:>14} {:>14} {:>8}",
        "before",
        "",
        "",
        "",
        "",
        megabytes(before.table),
        megabytes(before.indexes),
        before.dead
    ))
}

pub(crate) fn line(line: &Line<'_>, before: &Left) -> Result<()> {
    let Round { rate, peak, left, .. } = line.round;
    let peak = if peak == 0 { String::new() } else { format!("{}.{}", peak / 1024, peak % 1024 * 10 / 1024) };
    say(&format!(
        "{:<22} {:<24} {:>8.0} {:>8.0}% {:>6} {:>14} {:>14} {:>8} {:>9} {:>6}",
        line.what,
        line.options,
        rate,
        100.0 * rate / line.floor,
        percent(left.hot, left.updated),
        grown(before.table, left.table),
        grown(before.indexes, left.indexes),
        left.dead,
        peak,
        line.calls.map_or_else(String::new, |calls| calls.to_string())
    ))
}

fn megabytes(bytes: i64) -> String {
    format!("{}.{}", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

fn grown(before: i64, after: i64) -> String {
    let change = ((after - before) * 1_000).checked_div(before).unwrap_or(0);
    let sign = if change < 0 { '-' } else { '+' };
    format!("{} {sign}{}.{}%", megabytes(after), change.abs() / 10, change.abs() % 10)
}

fn percent(part: i64, whole: i64) -> String {
    format!("{}%", (part * 100 + whole / 2).checked_div(whole).unwrap_or(0))
}
