use time::{Duration, OffsetDateTime};

use super::{Finding, Status};
use crate::db::encryption::{self, Encryption};
use crate::db::inspect::server::{self, Found};
use crate::db::{Connection, TlsMode};

/// The oldest PostgreSQL that is tested.
const OLDEST: i32 = 130_000;
const SKEW: Duration = Duration::seconds(5);

/// The server's version, its settings that lose data, the connection, the clocks.
pub(super) async fn check(conn: &mut Connection, mode: TlsMode) -> Vec<Finding> {
    let before = OffsetDateTime::now_utc();
    let found = match server::look(conn).await {
        Ok(found) => found,
        Err(error) => return vec![Finding::unchecked("server", &error)],
    };
    let skew = skew(before, OffsetDateTime::now_utc(), found.now);
    let tls =
        encryption::of(conn).await.map_or_else(|error| Finding::unchecked("tls", &error), |found| tls(&found, mode));
    vec![version(&found), durability(&found), checksums(&found), tls, login(&found), clocks(skew)]
}

fn version(found: &Found) -> Finding {
    let detail = format!("PostgreSQL {}", found.version_name);
    match found.version >= OLDEST {
        true => Finding::ok("server-version", detail),
        false => Finding::bad("server-version", Status::Fail, detail, "upgrade it to PostgreSQL 13 or newer"),
    }
}

fn durability(found: &Found) -> Finding {
    let mut off = Vec::new();
    off.extend((!found.fsync).then_some("fsync"));
    off.extend((!found.full_page_writes).then_some("full_page_writes"));
    const ADVICE: &str = "set it to on in postgresql.conf or by ALTER SYSTEM, then: SELECT pg_reload_conf()";
    if !off.is_empty() {
        let what =
            format!("off: {}. A message is deleted once its row is committed: a crash could lose both", off.join(", "));
        return Finding::bad("durability", Status::Fail, what, ADVICE);
    }
    match found.synchronous_commit.as_str() {
        "off" => Finding::bad(
            "durability",
            Status::Warn,
            "synchronous_commit is off by default: pii-vault turns it on for itself, and what others commit a crash can lose",
            ADVICE,
        ),
        _ => Finding::ok("durability", "what is committed is on disk"),
    }
}

fn checksums(found: &Found) -> Finding {
    match found.data_checksums {
        true => Finding::ok("data-checksums", "on"),
        false => Finding::bad(
            "data-checksums",
            Status::Warn,
            "off: a disk that returns wrong bytes is not noticed until a value does not open",
            "at the next maintenance, with the server stopped: pg_checksums --enable",
        ),
    }
}

fn tls(found: &Encryption, mode: TlsMode) -> Finding {
    match (found.encrypted, found.local) {
        (true, false) if mode < TlsMode::VerifyCa => Finding::bad(
            "tls",
            Status::Warn,
            "this connection is encrypted, but nobody checked to whom: whoever is in between can read it",
            "say sslmode=verify-full in DATABASE_URL, and name the server's CA by --database-ca",
        ),
        (true, _) => {
            let version = found.version.as_deref().unwrap_or("TLS");
            Finding::ok("tls", format!("this connection is encrypted by {version}"))
        }
        (false, true) => Finding::ok("tls", "this connection is not encrypted, and does not leave this machine"),
        (false, false) => Finding::bad(
            "tls",
            Status::Warn,
            "this connection is not encrypted and crosses a network: tokens, user ids and the login can be read there",
            "connect by TLS (sslmode in DATABASE_URL) or through a tunnel, and let pg_hba.conf say hostssl",
        ),
    }
}

fn login(found: &Found) -> Finding {
    match found.superuser {
        false => Finding::ok("login", format!("{} is no superuser", found.login)),
        true => Finding::bad(
            "login",
            Status::Warn,
            format!("{} is a superuser, whom no rule of the database binds", found.login),
            "use a login with CREATEROLE and membership in pii_vault_owner for this, and for `pii-vault init`",
        ),
    }
}

fn clocks(skew: Duration) -> Finding {
    match skew.abs() <= SKEW {
        true => Finding::ok("clocks", "this machine's and the server's agree within 5 s"),
        false => Finding::bad(
            "clocks",
            Status::Warn,
            format!(
                "the server's is {} s {}",
                skew.whole_seconds().abs(),
                if skew.is_positive() { "ahead" } else { "behind" }
            ),
            "let NTP set both; AWS refuses requests whose time is wrong by more than 5 minutes",
        ),
    }
}

/// The server read its clock between two readings of ours: how far it is outside of them.
fn skew(before: OffsetDateTime, after: OffsetDateTime, server: OffsetDateTime) -> Duration {
    if server < before {
        server - before
    } else if server > after {
        server - after
    } else {
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn found() -> Found {
        Found {
            version: 150_000,
            version_name: "15.0".to_owned(),
            fsync: true,
            full_page_writes: true,
            synchronous_commit: "on".to_owned(),
            data_checksums: true,
            login: "admin".to_owned(),
            superuser: false,
            now: datetime!(2026-01-01 00:00:00 UTC),
        }
    }

    #[test]
    fn each_setting_that_loses_data_is_named() {
        let finding = durability(&Found { fsync: false, full_page_writes: false, ..found() });
        assert_eq!(finding.status, Status::Fail);
        assert!(finding.detail.contains("fsync, full_page_writes"), "{finding:?}");
        assert_eq!(durability(&Found { synchronous_commit: "off".to_owned(), ..found() }).status, Status::Warn);
        assert_eq!(durability(&Found { synchronous_commit: "local".to_owned(), ..found() }).status, Status::Ok);
    }

    #[test]
    fn what_crosses_a_network_is_to_be_encrypted() {
        let connection = |encrypted, local| Encryption { encrypted, local, version: None, cipher: None };
        let status = |encrypted, local, mode| tls(&connection(encrypted, local), mode).status;
        assert_eq!(status(false, true, TlsMode::Prefer), Status::Ok);
        assert_eq!(status(false, false, TlsMode::Prefer), Status::Warn);
        assert_eq!(status(true, false, TlsMode::Require), Status::Warn);
        assert_eq!(status(true, false, TlsMode::VerifyCa), Status::Ok);
        assert_eq!(status(true, true, TlsMode::Require), Status::Ok);
        assert_eq!(version(&Found { version: 120_022, ..found() }).status, Status::Fail);
        assert_eq!(checksums(&Found { data_checksums: false, ..found() }).status, Status::Warn);
        assert_eq!(login(&Found { superuser: true, ..found() }).status, Status::Warn);
    }

    #[test]
    fn a_clock_is_wrong_by_what_a_slow_answer_does_not_explain() {
        let (before, after) = (datetime!(2026-01-01 00:00:00 UTC), datetime!(2026-01-01 00:00:09 UTC));
        assert_eq!(clocks(skew(before, after, datetime!(2026-01-01 00:00:08 UTC))).status, Status::Ok);
        assert_eq!(clocks(skew(before, after, datetime!(2026-01-01 00:00:14 UTC))).status, Status::Ok);
        assert!(clocks(skew(before, after, datetime!(2026-01-01 00:00:15 UTC))).detail.contains("6 s ahead"));
        assert!(clocks(skew(before, after, datetime!(2025-12-31 23:59:00 UTC))).detail.contains("60 s behind"));
    }
}
