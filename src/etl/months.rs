use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use time::Date;
use tokio::time::Instant;
use tracing::warn;

use super::error::EtlError;
use super::outage::Outages;
use crate::db::{DbError, Pool, months};
use crate::domain::Month;

/// In the last days of a month, its rows bring the next month's partition about, so that it is there in time.
const AHEAD: time::Duration = time::Duration::days(7);
/// How long to leave a month alone whose partition could not be made.
const LEFT_ALONE: Duration = Duration::from_secs(600);

/// The partitions that one writer knows about.
#[derive(Default)]
pub(super) struct Months {
    there: BTreeSet<Month>,
    left_alone_until: BTreeMap<Month, Instant>,
}

impl Months {
    /// Sees to the partitions of rows of `days`, before they are stored. Without one, they go to the default partition.
    pub(super) async fn ensure(
        &mut self,
        pool: &Pool,
        outages: &Outages,
        days: impl Iterator<Item = Date>,
    ) -> Result<(), EtlError> {
        let (mut of_rows, mut ahead) = (BTreeSet::new(), BTreeSet::new());
        for day in days {
            of_rows.insert(Month::of(day));
            ahead.extend(day.checked_add(AHEAD).map(Month::of));
        }
        for month in of_rows.union(&ahead) {
            let left_alone = self.left_alone_until.get(month).is_some_and(|until| *until > Instant::now());
            if self.there.contains(month) || left_alone {
                continue;
            }
            let made = outages
                .wait_out(DbError::is_transient, || async { months::ensure(&mut *pool.get().await?, *month).await })
                .await?;
            if made {
                self.there.insert(*month);
                continue;
            }
            self.left_alone_until.insert(*month, Instant::now() + LEFT_ALONE);
            if of_rows.contains(month) {
                warn!(%month, "no partition yet; rows go to the default partition");
            }
        }
        Ok(())
    }
}
