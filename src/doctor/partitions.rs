use time::{Duration, OffsetDateTime};

use super::finding::shortened;
use super::{Finding, Status};
use crate::db::inspect::contents;
use crate::db::months::{self, MonthInDefault};
use crate::db::{Connection, DbError};
use crate::domain::Month;

/// Ingestion makes the next month's partition in the last week of a month. This late, it should be there.
const LATE: Duration = Duration::days(3);

/// Rows in the default partition; this month's partition and the next one's.
pub(super) async fn check(conn: &mut Connection) -> Vec<Finding> {
    let today = OffsetDateTime::now_utc().date();
    let soon = today.checked_add(LATE).map_or(Month::of(today), Month::of);
    let mut missing = Vec::new();
    for month in [Month::of(today), soon] {
        match contents::has_partition(conn, month).await {
            Ok(true) => {}
            Ok(false) => missing.push(month.to_string()),
            Err(error) => return vec![Finding::unchecked("month-partitions", &error)],
        }
    }
    missing.dedup();
    let made = Finding::none_of(
        "month-partitions",
        Ok(missing),
        "those of this month and of the next days are there",
        Status::Warn,
        "run `pii-vault init`, which makes them, before rows go to the default partition",
    );
    vec![made, default(months::in_default(conn).await)]
}

fn default(found: Result<Vec<MonthInDefault>, DbError>) -> Finding {
    let months = found
        .map(|months| months.iter().map(|month| format!("{} rows of {}", month.rows, month.month)).collect::<Vec<_>>());
    match months {
        Err(error) => Finding::unchecked("default-partition", &error),
        Ok(months) if months.is_empty() => Finding::ok("default-partition", "no month has rows in it"),
        Ok(months) => Finding::bad(
            "default-partition",
            Status::Warn,
            shortened(&months),
            "nothing is lost; `pii-vault retention --repair-default` gives them partitions",
        ),
    }
}
