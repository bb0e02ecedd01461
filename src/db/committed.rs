use diesel::result::{Error, QueryResult};

/// For `and_then` after `load` of a statement that is a transaction of its own: its one row, once that is committed.
///
/// `get_result` of diesel_async returns with the row, which comes before the server's word on the commit: one that
/// fails, for a deferred constraint or want of disk, would pass for done.
pub(super) fn committed<T>(rows: Vec<T>) -> QueryResult<T> {
    rows.into_iter().next().ok_or(Error::NotFound)
}
