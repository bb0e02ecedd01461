use super::expected_rights::EXPECTED;
use super::finding::shortened;
use super::{Finding, Status};
use crate::db::inspect::access::{self, Tried};
use crate::db::{Connection, DbError};

/// Roles, who holds them, what they may do.
pub(super) async fn check(conn: &mut Connection) -> Vec<Finding> {
    let mut findings = vec![
        Finding::none_of(
            "roles",
            access::faulty_roles(conn).await,
            "all are there, and none can log in or rule the cluster",
            Status::Fail,
            "for one that is missing: `pii-vault init`; else: ALTER ROLE … NOLOGIN NOSUPERUSER NOCREATEROLE \
             NOCREATEDB NOREPLICATION NOBYPASSRLS",
        ),
        Finding::none_of(
            "roles-apart",
            access::nested_roles(conn).await,
            "no role of the vault is a member of another role",
            Status::Fail,
            "REVOKE it: a role that is a member of another has the other's rights as well",
        ),
        Finding::none_of(
            "ingest-and-read",
            ingest_and_read(conn).await,
            "no login that uses the token key reads tokens or originals",
            Status::Fail,
            "REVOKE one of the two: who ingests, redrives, reseals or looks up can use the token key, and with the tokens \
             finds every IPv4 address",
        ),
        Finding::none_of(
            "rewrap-and-read",
            rewrap_and_read(conn).await,
            "no login both has keys wrapped anew and reads tokens or originals",
            Status::Warn,
            "REVOKE one of the two: who moves keys to another KMS key decides who can unwrap them",
        ),
        Finding::none_of(
            "unmask-and-approve",
            unmask_and_approve(conn).await,
            "no login both unmasks and approves",
            Status::Warn,
            "REVOKE one of the two: nobody approves what they asked for themselves, but two such logins approve each \
             other's",
        ),
        owners(access::owners(conn).await),
        Finding::none_of(
            "reads-everything",
            access::read_everything(conn).await,
            "no login reads or writes all tables by a role of PostgreSQL's",
            Status::Fail,
            "REVOKE that role: it reads sealed bodies and wrapped keys past every rule of the vault's",
        ),
        Finding::none_of(
            "superusers",
            access::superusers(conn).await,
            "none but the cluster's first",
            Status::Warn,
            "ALTER ROLE … NOSUPERUSER where it can be done without: no rule of the database binds a superuser",
        ),
    ];
    findings.push(grants(access::grants(conn).await));
    findings.push(tried(access::try_to_read(conn).await));
    findings.push(Finding::none_of(
        "public-functions",
        access::public_functions(conn).await,
        "no function of the vault can be called by everybody",
        Status::Fail,
        "REVOKE EXECUTE ON FUNCTION pii_vault.… FROM PUBLIC",
    ));
    findings.push(Finding::none_of(
        "function-paths",
        access::unpinned_functions(conn).await,
        "functions that run as the owner pin their search_path",
        Status::Fail,
        "ALTER FUNCTION pii_vault.… SET search_path = pii_vault, pg_temp",
    ));
    findings.push(Finding::none_of(
        "ownership",
        access::foreign_objects(conn).await,
        "everything belongs to pii_vault_owner",
        Status::Fail,
        "ALTER … OWNER TO pii_vault_owner; find out who made or took it",
    ));
    findings
}

async fn ingest_and_read(conn: &mut Connection) -> Result<Vec<String>, DbError> {
    let mut found = Vec::new();
    // Redrive, lookup and reseal unwrap the token key as ingestion does.
    for writer in ["ingest", "redrive", "lookup", "reseal"] {
        for reader in ["analyst", "unmask", "owner"] {
            let logins = access::hold_both(conn, writer, reader).await?;
            let told = |login| format!("{login} holds pii_vault_{writer} and pii_vault_{reader}");
            found.extend(logins.into_iter().map(told));
        }
    }
    Ok(found)
}

async fn rewrap_and_read(conn: &mut Connection) -> Result<Vec<String>, DbError> {
    let mut found = Vec::new();
    for reader in ["analyst", "unmask"] {
        let logins = access::hold_both(conn, "rewrap", reader).await?;
        found.extend(logins.into_iter().map(|login| format!("{login} holds pii_vault_rewrap and pii_vault_{reader}")));
    }
    Ok(found)
}

async fn unmask_and_approve(conn: &mut Connection) -> Result<Vec<String>, DbError> {
    let logins = access::hold_both(conn, "unmask", "approver").await?;
    Ok(logins.into_iter().map(|login| format!("{login} holds pii_vault_unmask and pii_vault_approver")).collect())
}

fn owners(found: Result<Vec<String>, DbError>) -> Finding {
    match found {
        Err(error) => Finding::unchecked("administrators", &error),
        Ok(found) => Finding::ok("administrators", format!("members of pii_vault_owner: {}", shortened(&found))),
    }
}

fn grants(found: Result<Vec<String>, DbError>) -> Finding {
    const CHECK: &str = "grants";
    let found = match found {
        Ok(found) => found,
        Err(error) => return Finding::unchecked(CHECK, &error),
    };
    let expected = |right: &String| EXPECTED.contains(&right.as_str());
    let stray: Vec<_> = found.iter().filter(|right| !expected(right)).cloned().collect();
    let lacking: Vec<_> =
        EXPECTED.iter().filter(|right| !found.iter().any(|has| has == **right)).map(ToString::to_string).collect();
    // The view is there to be read; who else reads it is the administrator's business, and worth a look.
    let only_the_view = stray.iter().all(|right| right.starts_with("SELECT on user_logins to "));
    match (stray.is_empty(), lacking.is_empty()) {
        (true, true) => Finding::ok(CHECK, "each role has its rights, and nobody has another"),
        (false, _) => Finding::bad(
            CHECK,
            if only_the_view { Status::Warn } else { Status::Fail },
            format!("beyond the design: {}", shortened(&stray)),
            "REVOKE them; where somebody needs to read the view, grant pii_vault_analyst instead",
        ),
        (true, false) => Finding::bad(
            CHECK,
            Status::Fail,
            format!("gone: {}", shortened(&lacking)),
            "GRANT them again, as pii_vault_owner",
        ),
    }
}

fn tried(found: Result<Tried, DbError>) -> Finding {
    const CHECK: &str = "ingest-reads-nothing";
    match found {
        Err(error) => Finding::unchecked(CHECK, &error),
        Ok(Tried::Refused) => Finding::ok(CHECK, "tried as pii_vault_ingest: every read was refused"),
        Ok(Tried::WouldBeRefused) => Finding::ok(
            CHECK,
            "by its privileges every read would be refused (not tried: this login is no member of pii_vault_ingest, \
             and should not be)",
        ),
        Ok(Tried::Readable(tables)) => Finding::bad(
            CHECK,
            Status::Fail,
            format!("pii_vault_ingest can read {}", shortened(&tables)),
            "REVOKE it, from PUBLIC too; see the check `grants`",
        ),
    }
}
