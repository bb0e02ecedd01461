use super::{Finding, Status};
use crate::db::inspect::checkpoints::{self, Unsigned};
use crate::db::{Connection, DbError};

/// Seconds. A notary needs milliseconds.
const LONG: i64 = 60;

/// Whether the audit log is signed as it grows.
pub(super) async fn check(conn: &mut Connection) -> Finding {
    finding(checkpoints::unsigned(conn).await)
}

fn finding(found: Result<Unsigned, DbError>) -> Finding {
    const CHECK: &str = "checkpoints";
    let Unsigned { signed_seq, entries, seconds, required } = match found {
        Ok(found) => found,
        Err(error) => return Finding::unchecked(CHECK, &error),
    };
    let advice = "see that `pii-vault audit notary` runs, and what it logs";
    match (signed_seq, seconds > LONG) {
        (0, _) if required => Finding::bad(
            CHECK,
            Status::Fail,
            "policy lets nothing be read before a checkpoint covers its record, and there is none",
            advice,
        ),
        (0, _) => Finding::ok(CHECK, "no entry of the audit log is signed: `pii-vault audit notary` has not run yet"),
        (_, true) => Finding::bad(
            CHECK,
            Status::Warn,
            format!("{entries} entries of the audit log are not signed, the first for {seconds} s"),
            advice,
        ),
        (_, false) if required => Finding::ok(CHECK, format!("signed up to entry {signed_seq}, as policy asks for")),
        (_, false) => Finding::ok(
            CHECK,
            format!(
                "signed up to entry {signed_seq}; policy does not wait for that: `pii-vault access policy set \
                 --checkpoints required` makes it"
            ),
        ),
    }
}
