use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use serde::Serialize;

use crate::db::{Connection, DbError, rotation};
use crate::key_rotation::Options;

/// Synthetic rows that this process is measured on.
pub(in crate::cli::key_rotation) const SYNTHETIC: u32 = 2000;
/// Stored rows that the database is measured on.
const STORED: i32 = 500;

/// What was measured, for a row.
#[derive(Serialize)]
pub(in crate::cli::key_rotation) struct Sample {
    /// In this process, on one core.
    process_rows: u32,
    process_seconds_per_row: f64,
    /// In PostgreSQL, in one transaction; `None`: there is no row to measure it on.
    database_rows: u64,
    database_seconds_per_row: Option<f64>,
}

impl Sample {
    /// Measures the database, beside what the process was measured at.
    pub(in crate::cli::key_rotation) async fn measure(
        conn: &mut Connection,
        process: Duration,
    ) -> Result<Self, DbError> {
        // The first reads what the second finds in memory, as a page does that was claimed before.
        rotation::sample(conn, STORED).await?;
        let (rows, took) = rotation::sample(conn, STORED).await?;
        let each = u32::try_from(rows).ok().filter(|rows| *rows > 0).map(|rows| took / rows);
        Ok(Self {
            process_rows: SYNTHETIC,
            process_seconds_per_row: process.as_secs_f64(),
            database_rows: rows,
            database_seconds_per_row: each.map(|each| each.as_secs_f64()),
        })
    }

    /// So many rows, by workers that share the cores and write side by side, no faster than the rate.
    pub(in crate::cli::key_rotation) fn seconds(&self, rows: i64, pace: &Pace) -> f64 {
        let at_once = share(pace.workers.min(pace.cores));
        let process = self.process_seconds_per_row / at_once;
        pace.bounded(rows, process + self.database_seconds(pace))
    }

    /// The same where the process does nothing but wait for the database.
    pub(in crate::cli::key_rotation) fn database_seconds_of(&self, rows: i64, pace: &Pace) -> f64 {
        pace.bounded(rows, self.database_seconds(pace))
    }

    fn database_seconds(&self, pace: &Pace) -> f64 {
        self.database_seconds_per_row.unwrap_or(0.0) / share(pace.workers)
    }
}

/// What a plan assumes of the run.
#[derive(Serialize)]
pub(in crate::cli::key_rotation) struct Pace {
    batch: i32,
    workers: usize,
    rate_per_second: Option<u32>,
    cores: usize,
}

impl Pace {
    pub(in crate::cli::key_rotation) fn of(options: Options) -> Self {
        Self {
            batch: options.page(),
            workers: options.workers,
            rate_per_second: options.rate.map(Into::into),
            cores: available_parallelism().map_or(1, NonZeroUsize::get),
        }
    }

    /// Workers that have a page at the same time, where there are so many rows.
    pub(in crate::cli::key_rotation) fn at_once(&self, rows: i64) -> i64 {
        let pages = rows.saturating_add(i64::from(self.batch) - 1) / i64::from(self.batch.max(1));
        pages.min(i64::try_from(self.workers).unwrap_or(i64::MAX))
    }

    /// In words.
    pub(in crate::cli::key_rotation) fn told(&self) -> String {
        let rate = self.rate_per_second.map(|rate| format!(", at most {rate}/s")).unwrap_or_default();
        format!("{} workers on {} cores, {} rows in a transaction{rate}", self.workers, self.cores, self.batch)
    }

    fn bounded(&self, rows: i64, seconds_per_row: f64) -> f64 {
        let least = self.rate_per_second.map_or(0.0, |rate| 1.0 / f64::from(rate));
        number(rows) * seconds_per_row.max(least)
    }
}

fn share(count: usize) -> f64 {
    f64::from(u32::try_from(count.max(1)).unwrap_or(u32::MAX))
}

/// Exact up to 2^53, and beyond that near enough for a time or a rate.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "for times and rates")]
pub(in crate::cli::key_rotation) fn number(count: i64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(workers: usize, rate: Option<u32>) -> f64 {
        let sample = Sample {
            process_rows: 1,
            process_seconds_per_row: 0.002,
            database_rows: 1,
            database_seconds_per_row: Some(0.004),
        };
        sample.seconds(1000, &Pace { batch: 500, workers, rate_per_second: rate, cores: 2 })
    }

    #[test]
    fn no_more_workers_are_at_it_than_there_are_pages() {
        let pace = Pace { batch: 100, workers: 4, rate_per_second: None, cores: 2 };
        assert_eq!([0, 1, 100, 101, 300, 301, 1000].map(|rows| pace.at_once(rows)), [0, 1, 1, 2, 3, 4, 4]);
    }

    #[test]
    fn workers_share_cores_and_a_rate_bounds_them_all() {
        for (workers, rate, expected) in
            [(1, None, 6.0), (2, None, 3.0), (4, None, 2.0), (4, Some(1000), 2.0), (4, Some(100), 10.0)]
        {
            let seconds = seconds(workers, rate);
            assert!((seconds - expected).abs() < 1e-9, "{workers} {rate:?}: {seconds}");
        }
    }
}
