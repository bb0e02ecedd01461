use std::time::Duration;

use super::finding::shortened;
use super::{Finding, Status};
use crate::db::inspect::blockers::{self, Holder};
use crate::db::{Connection, DbError};

/// Between the two looks: what holds a lock at both has held it for so long.
const PAUSE: Duration = Duration::from_secs(1);
/// Seconds. A reader that is at it for longer can cost a month its partition.
const LONG: i64 = 60;
/// Seconds. Who waits to add to the audit log waits for as long.
const BOUND: i64 = 5;
/// Of the queue of announcements, which is empty where all who listen do.
const SOME: f64 = 0.05;
const MUCH: f64 = 0.5;
const ANNOUNCEMENTS: &str = "announcements";

/// Who holds up rows, or could hold up a partition; and who holds up the audit log.
pub(super) async fn check(conn: &mut Connection) -> Vec<Finding> {
    match lasting(conn).await {
        Ok((rows, log)) => vec![finding(&rows), log_finding(&log)],
        Err(error) => vec![Finding::unchecked("blockers", &error), Finding::unchecked("audit-log-lock", &error)],
    }
}

/// Transactions whose locks no session holds, and that none of the sessions above therefore shows.
pub(super) async fn prepared(conn: &mut Connection) -> Finding {
    Finding::none_of(
        "prepared",
        blockers::prepared(conn).await,
        "no transaction is prepared and left so",
        Status::Warn,
        "COMMIT PREPARED or ROLLBACK PREPARED it: until then its locks stay, whoever is connected",
    )
}

/// Whether announcements pile up, which in the end stops who announces.
pub(super) async fn announcements(conn: &mut Connection) -> Finding {
    match blockers::announcements(conn).await {
        Err(error) => Finding::unchecked(ANNOUNCEMENTS, &error),
        Ok(usage) if usage <= SOME => announced(usage, &[]),
        Ok(usage) => match blockers::idle_in_transaction(conn).await {
            Ok(idle) => announced(usage, &idle),
            Err(_) => announced(usage, &[]),
        },
    }
}

fn announced(usage: f64, idle: &[String]) -> Finding {
    let percent = format!("{:.1} % of the queue of announcements (NOTIFY) is in use", usage * 100.0);
    let status = match usage {
        usage if usage <= SOME => return Finding::ok(ANNOUNCEMENTS, percent),
        usage if usage <= MUCH => Status::Warn,
        _ => Status::Fail,
    };
    let held = match idle {
        [] => String::new(),
        idle => format!("; idle in a transaction: {}", shortened(idle)),
    };
    Finding::bad(
        ANNOUNCEMENTS,
        status,
        format!("{percent}{held}"),
        "a session that listens and stays in a transaction keeps all of it: end that session. Once the queue is full, \
         nothing can be recorded. Who it may be shows to members of pg_read_all_stats",
    )
}

async fn lasting(conn: &mut Connection) -> Result<(Vec<Holder>, Vec<Holder>), DbError> {
    let (rows, log) = (blockers::holders(conn).await?, blockers::log_holders(conn).await?);
    if rows.is_empty() && log.is_empty() {
        return Ok((rows, log));
    }
    tokio::time::sleep(PAUSE).await;
    let later = (blockers::holders(conn).await?, blockers::log_holders(conn).await?);
    Ok((still(&rows, later.0), still(&log, later.1)))
}

fn still(first: &[Holder], mut second: Vec<Holder>) -> Vec<Holder> {
    second.retain(|holder| {
        first.iter().any(|other| (other.pid, &other.transaction) == (holder.pid, &holder.transaction))
    });
    second
}

fn finding(holders: &[Holder]) -> Finding {
    let in_the_way: Vec<_> = holders.iter().filter(|holder| holder.stops_rows || holder.waiting > 0).collect();
    let long: Vec<_> = holders.iter().filter(|holder| holder.seconds.is_none_or(|seconds| seconds > LONG)).collect();
    let (status, named) = match (in_the_way.is_empty(), long.is_empty()) {
        (true, true) => return Finding::ok("blockers", "nobody holds up rows or partitions"),
        (true, false) => (Status::Warn, long),
        (false, _) => (Status::Fail, in_the_way),
    };
    bad("blockers", status, &named)
}

/// Whoever has it for a second is not at work: what is recorded takes milliseconds.
fn log_finding(holders: &[Holder]) -> Finding {
    const CHECK: &str = "audit-log-lock";
    let named: Vec<_> = holders.iter().collect();
    match holders.iter().any(|holder| holder.waiting > 0 || holder.seconds.is_some_and(|seconds| seconds > BOUND)) {
        _ if holders.is_empty() => Finding::ok(CHECK, "nobody holds up the audit log"),
        true => bad(CHECK, Status::Fail, &named),
        false => bad(CHECK, Status::Warn, &named),
    }
}

fn bad(check: &'static str, status: Status, named: &[&Holder]) -> Finding {
    let texts: Vec<_> = named.iter().map(|holder| text(holder)).collect();
    let pid = named.first().map_or(0, |holder| holder.pid);
    let advice = format!(
        "ask them to end the transaction, or end their session: SELECT pg_terminate_backend({pid}). \
         idle_in_transaction_session_timeout keeps it from coming back"
    );
    Finding::bad(check, status, shortened(&texts), advice)
}

fn text(holder: &Holder) -> String {
    let since = match holder.seconds {
        Some(seconds) => format!("for {seconds} s"),
        None => "for more than a second (how long shows to members of pg_read_all_stats)".to_owned(),
    };
    let waiting = match holder.waiting {
        0 => String::new(),
        1 => "; 1 session waits".to_owned(),
        count => format!("; {count} sessions wait"),
    };
    format!("process {} ({}) has held {} {since}{waiting}", holder.pid, holder.who, holder.lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(stops_rows: bool, waiting: i64, seconds: Option<i64>) -> Holder {
        Holder {
            pid: 7,
            transaction: "3/4".to_owned(),
            who: "ann, psql".to_owned(),
            lock: "AccessShareLock on login_events".to_owned(),
            stops_rows,
            waiting,
            seconds,
        }
    }

    #[test]
    fn who_is_in_the_way_is_worse_than_who_could_be() {
        assert_eq!(finding(&[]).status, Status::Ok);
        assert_eq!(finding(&[holder(false, 0, Some(60))]).status, Status::Ok);
        assert_eq!(finding(&[holder(false, 0, Some(61))]).status, Status::Warn);
        assert_eq!(finding(&[holder(false, 0, None)]).status, Status::Warn);
        assert_eq!(finding(&[holder(true, 0, Some(2))]).status, Status::Fail);
        let waited_for = finding(&[holder(false, 2, Some(2))]);
        assert_eq!(waited_for.status, Status::Fail);
        assert!(waited_for.detail.contains("process 7 (ann, psql)"), "{waited_for:?}");
        assert!(waited_for.advice.is_some_and(|advice| advice.contains("pg_terminate_backend(7)")));
    }

    #[test]
    fn announcements_that_pile_up_name_who_may_keep_them() {
        assert_eq!(announced(0.0, &[]).status, Status::Ok);
        assert_eq!(announced(0.05, &[]).status, Status::Ok);
        let some = announced(0.06, &["process 7 (ann, psql)".to_owned()]);
        assert_eq!(some.status, Status::Warn);
        assert!(some.detail.starts_with("6.0 %") && some.detail.ends_with(": process 7 (ann, psql)"), "{some:?}");
        assert_eq!(announced(0.51, &[]).status, Status::Fail);
    }

    #[test]
    fn who_has_the_log_for_long_is_in_the_way_of_all() {
        assert_eq!(log_finding(&[]).status, Status::Ok);
        assert_eq!(log_finding(&[holder(true, 0, Some(5))]).status, Status::Warn);
        assert_eq!(log_finding(&[holder(true, 0, None)]).status, Status::Warn);
        assert_eq!(log_finding(&[holder(true, 0, Some(6))]).status, Status::Fail);
        assert_eq!(log_finding(&[holder(true, 1, None)]).status, Status::Fail);
    }
}
