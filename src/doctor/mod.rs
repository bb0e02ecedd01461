//! `doctor`: what is wrong with a vault, and what to do about it.
//!
//! Guaranteed: it changes nothing; one check that fails or cannot be made keeps no other from being made; no finding
//! quotes a value of a row. Each question waits 2 s for a lock and takes 10 s, at most.
//! Not guaranteed: that `ok` holds a minute later, or beyond what a check says it looked at. Whoever owns the database
//! can make it look healthy.

mod access;
mod blockers;
mod checkpoints;
mod contents;
mod expected_rights;
mod finding;
mod kms;
mod partitions;
mod queue;
mod restored;
mod rotation;
mod server;

pub use finding::{Finding, Status};

use crate::aws::{AwsError, Kms, KmsKeys, QueueSettings};
use crate::db::{ConnectError, Connection, DbError, Role, Server, TlsMode, inspect};

/// Makes every check that can be made.
///
/// Connects as an administrator's login and takes on `pii_vault_owner`; with less, it checks what everybody sees and
/// says what it left out.
pub async fn examine(
    database: &Server,
    kms: &Kms,
    keys: &KmsKeys,
    queue: Option<Result<QueueSettings, AwsError>>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    match connect(database, &mut findings).await {
        Ok(mut conn) => findings.extend(examine_database(&mut conn, database.tls_mode()).await),
        Err(finding) => findings.push(finding),
    }
    findings.extend(kms::check(kms, keys).await);
    findings.extend(queue::check(queue));
    findings
}

async fn examine_database(conn: &mut Connection, mode: TlsMode) -> Vec<Finding> {
    // First, as brief locks of others are told from lasting ones by looking twice.
    let mut findings = blockers::check(conn).await;
    findings.push(blockers::prepared(conn).await);
    findings.push(blockers::announcements(conn).await);
    findings.extend(server::check(conn, mode).await);
    findings.extend(contents::check(conn).await);
    findings.extend(rotation::check(conn).await);
    findings.push(checkpoints::check(conn).await);
    findings.push(restored::check(conn).await);
    findings.extend(access::check(conn).await);
    findings.extend(partitions::check(conn).await);
    findings
}

async fn connect(database: &Server, findings: &mut Vec<Finding>) -> Result<Connection, Finding> {
    const CHECK: &str = "connection";
    let failed = |error: &ConnectError| {
        Finding::bad(CHECK, Status::Fail, error.to_string(), "nothing in the database was checked; mend this first")
    };
    let mut conn = match database.connect(Role::Owner).await {
        Ok(conn) => {
            findings.push(Finding::ok(CHECK, "connected, as a member of pii_vault_owner"));
            conn
        }
        Err(ConnectError::Role { .. }) => {
            let conn = database.connect(Role::Administrator).await.map_err(|error| failed(&error))?;
            findings.push(Finding::bad(
                CHECK,
                Status::Warn,
                "this login is no member of pii_vault_owner: only what every login sees is checked",
                "run it as the login that ran `pii-vault init`",
            ));
            conn
        }
        Err(error) => return Err(failed(&error)),
    };
    let limited: Result<(), DbError> = inspect::limit(&mut conn).await;
    limited.map_err(|error| Finding::unchecked(CHECK, &error))?;
    Ok(conn)
}
