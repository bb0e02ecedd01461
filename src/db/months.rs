//! `pii_vault.ensure_month`: partitions before their first row.

use diesel::sql_types::Date as SqlDate;
use diesel_async::RunQueryDsl;
use time::Date;

use super::{Connection, DbError};

#[diesel::declare_sql_function]
#[expect(missing_docs, reason = "the macro writes items that cannot carry any")]
extern "SQL" {
    #[sql_name = "pii_vault.ensure_month"]
    fn ensure_month(day: SqlDate) -> Bool;
}

/// Makes the partition of the day's month where it is missing. `false`: an open reader or rows in the default
/// partition held it up, and the month's rows go to the default partition for now. Nothing is lost by that.
///
/// # Errors
/// [`DbError`].
pub async fn ensure(conn: &mut Connection, day: Date) -> Result<bool, DbError> {
    diesel::select(ensure_month(day)).get_result(conn).await.map_err(DbError::during("making a month's partition"))
}
