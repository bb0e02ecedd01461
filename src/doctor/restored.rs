use super::{Finding, Status};
use crate::db::inspect::restored::{self, Signs};
use crate::db::{Connection, DbError};

/// Whether this is a database that was put back.
pub(super) async fn check(conn: &mut Connection) -> Finding {
    finding(restored::signs(conn).await)
}

fn finding(found: Result<Signs, DbError>) -> Finding {
    const CHECK: &str = "restored";
    match found {
        Err(error) => Finding::unchecked(CHECK, &error),
        Ok(Signs { signed_beyond: Some(seq), .. }) => Finding::bad(
            CHECK,
            Status::Broken,
            format!(
                "there is a checkpoint for entry {seq} of the audit log, which ends before it: entries were removed"
            ),
            "compare with a backup and with the copies of checkpoints; `pii-vault audit verify` says more",
        ),
        Ok(Signs { from_the_future: count @ 1.., .. }) => Finding::bad(
            CHECK,
            Status::Warn,
            format!(
                "{count} receipts, redrive jobs and rotations of keys are of transactions that this PostgreSQL server has not come to yet: a \
                 dump of another one was restored. They hand out nothing here"
            ),
            "`pii-vault audit resume` compares the log with the copies of checkpoints outside, and records that it is in \
             service again",
        ),
        Ok(Signs { resumed: Some(seq), .. }) => Finding::ok(
            CHECK,
            format!(
                "an older database was put back and is in service again since entry {seq} of the audit log: `pii-vault audit \
                 show {seq}` says what was lost"
            ),
        ),
        Ok(_) => Finding::ok(CHECK, "nothing tells that a dump was restored, or an older database put back"),
    }
}
