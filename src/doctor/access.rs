use super::finding::shortened;
use super::{Finding, Status};
use crate::db::inspect::access::{self, Tried};
use crate::db::{Connection, DbError};

/// Every right that anybody but the owner has: `privilege [(columns)] on object to role`.
const EXPECTED: &[&str] = &[
    "EXECUTE on arm_receipt() to pii_vault_lookup",
    "EXECUTE on arm_receipt() to pii_vault_unmask",
    "EXECUTE on arm_redrive() to pii_vault_redrive",
    "EXECUTE on arm_reseal_sample() to pii_vault_reseal",
    "EXECUTE on arm_rotation() to pii_vault_reseal",
    "EXECUTE on arm_rotation() to pii_vault_rewrap",
    "EXECUTE on arm_token_map() to pii_vault_reseal",
    "EXECUTE on begin_checkpoint() to pii_vault_notary",
    "EXECUTE on chain_revocations() to pii_vault_approver",
    "EXECUTE on chain_revocations() to pii_vault_unmask",
    "EXECUTE on claim_rotation() to pii_vault_reseal",
    "EXECUTE on claim_rotation() to pii_vault_rewrap",
    "EXECUTE on count_reseal() to pii_vault_reseal",
    "EXECUTE on covering_checkpoint() to pii_vault_lookup",
    "EXECUTE on covering_checkpoint() to pii_vault_unmask",
    "EXECUTE on covering_redrive_checkpoint() to pii_vault_redrive",
    "EXECUTE on current_policy() to pii_vault_approver",
    "EXECUTE on current_policy() to pii_vault_auditor",
    "EXECUTE on current_policy() to pii_vault_unmask",
    "EXECUTE on decide_access() to pii_vault_approver",
    "EXECUTE on ensure_month() to pii_vault_ingest",
    "EXECUTE on ensure_month() to pii_vault_redrive",
    "EXECUTE on fetch_backfill() to pii_vault_reseal",
    "EXECUTE on fetch_redrive() to pii_vault_redrive",
    "EXECUTE on fetch_reseal() to pii_vault_reseal",
    "EXECUTE on fetch_reseal_sample() to pii_vault_reseal",
    "EXECUTE on fetch_rewrap() to pii_vault_rewrap",
    "EXECUTE on fetch_token_keys() to pii_vault_lookup",
    "EXECUTE on fetch_token_map() to pii_vault_reseal",
    "EXECUTE on fetch_token_sample() to pii_vault_reseal",
    "EXECUTE on fetch_unmask() to pii_vault_unmask",
    "EXECUTE on hold_keys() to pii_vault_ingest",
    "EXECUTE on hold_keys() to pii_vault_redrive",
    "EXECUTE on hold_keys() to pii_vault_reseal",
    "EXECUTE on leave_rotation() to pii_vault_reseal",
    "EXECUTE on leave_rotation() to pii_vault_rewrap",
    "EXECUTE on list_access() to pii_vault_approver",
    "EXECUTE on list_access() to pii_vault_auditor",
    "EXECUTE on list_access() to pii_vault_unmask",
    "EXECUTE on notary_entries() to pii_vault_notary",
    "EXECUTE on notary_restored() to pii_vault_notary",
    "EXECUTE on notary_state() to pii_vault_notary",
    "EXECUTE on pause_rotation() to pii_vault_reseal",
    "EXECUTE on pause_rotation() to pii_vault_rewrap",
    "EXECUTE on plan_data_keys() to pii_vault_reseal",
    "EXECUTE on record_lookup() to pii_vault_lookup",
    "EXECUTE on record_redrive() to pii_vault_redrive",
    "EXECUTE on record_refusal() to pii_vault_lookup",
    "EXECUTE on record_refusal() to pii_vault_unmask",
    "EXECUTE on record_reseal() to pii_vault_reseal",
    "EXECUTE on record_reseal_sample() to pii_vault_reseal",
    "EXECUTE on record_rewrap() to pii_vault_rewrap",
    "EXECUTE on record_token_map() to pii_vault_reseal",
    "EXECUTE on record_token_rotation() to pii_vault_reseal",
    "EXECUTE on record_unmask() to pii_vault_unmask",
    "EXECUTE on request_access() to pii_vault_unmask",
    "EXECUTE on retire_data_keys() to pii_vault_reseal",
    "EXECUTE on retire_kms_key() to pii_vault_rewrap",
    "EXECUTE on retry_backfill() to pii_vault_reseal",
    "EXECUTE on revoke_access() to pii_vault_approver",
    "EXECUTE on revoke_access() to pii_vault_unmask",
    "EXECUTE on rotation_history() to pii_vault_auditor",
    "EXECUTE on rotation_history() to pii_vault_reseal",
    "EXECUTE on rotation_history() to pii_vault_rewrap",
    "EXECUTE on rotation_keys() to pii_vault_auditor",
    "EXECUTE on rotation_keys() to pii_vault_reseal",
    "EXECUTE on rotation_keys() to pii_vault_rewrap",
    "EXECUTE on sample_rotation() to pii_vault_reseal",
    "EXECUTE on sample_wrapped_keys() to pii_vault_rewrap",
    "EXECUTE on select_redrive() to pii_vault_redrive",
    "EXECUTE on settle_lookup() to pii_vault_lookup",
    "EXECUTE on settle_redrive() to pii_vault_redrive",
    "EXECUTE on settle_rotation() to pii_vault_reseal",
    "EXECUTE on settle_rotation() to pii_vault_rewrap",
    "EXECUTE on settle_unmask() to pii_vault_unmask",
    "EXECUTE on store_backfill() to pii_vault_reseal",
    "EXECUTE on store_checkpoint() to pii_vault_notary",
    "EXECUTE on store_reseal() to pii_vault_reseal",
    "EXECUTE on store_rewrap() to pii_vault_rewrap",
    "EXECUTE on token_differences() to pii_vault_reseal",
    "EXECUTE on token_report() to pii_vault_reseal",
    "EXECUTE on wrapping_kms_keys() to pii_vault_rewrap",
    "INSERT (body_ciphertext, create_date, dead_letter_key_id, member, message_id, reason, size) on dead_letters to pii_vault_ingest",
    "INSERT (commitment, id, kms_key, max_step, wrapped_key) on data_keys to pii_vault_ingest",
    "INSERT (commitment, id, kms_key, max_step, wrapped_key) on data_keys to pii_vault_redrive",
    "INSERT (commitment, id, kms_key, max_step, wrapped_key) on data_keys to pii_vault_reseal",
    "INSERT (commitment, id, kms_key, max_step, wrapped_key) on dead_letter_keys to pii_vault_ingest",
    "INSERT on login_events to pii_vault_ingest",
    "INSERT on login_events to pii_vault_redrive",
    "SELECT (create_date, member, message_id, reason, received_at, redrive_job, redriven_at, size) on dead_letters to pii_vault_redrive",
    "SELECT on access_decisions to pii_vault_auditor",
    "SELECT on access_grants to pii_vault_auditor",
    "SELECT on access_policy to pii_vault_auditor",
    "SELECT on access_requests to pii_vault_auditor",
    "SELECT on access_revocations to pii_vault_auditor",
    "SELECT on audit_head to pii_vault_auditor",
    "SELECT on audit_log to pii_vault_auditor",
    "SELECT on checkpoints to pii_vault_auditor",
    "SELECT on receipt_rows to pii_vault_auditor",
    "SELECT on receipts to pii_vault_auditor",
    "SELECT on redrive_jobs to pii_vault_auditor",
    "SELECT on redrive_rows to pii_vault_auditor",
    "SELECT on retired_kms_keys to pii_vault_auditor",
    "SELECT on retired_kms_keys to pii_vault_rewrap",
    "SELECT on rotation_failures to pii_vault_auditor",
    "SELECT on rotation_failures to pii_vault_reseal",
    "SELECT on rotation_failures to pii_vault_rewrap",
    "SELECT on rotation_jobs to pii_vault_auditor",
    "SELECT on rotation_jobs to pii_vault_reseal",
    "SELECT on rotation_jobs to pii_vault_rewrap",
    "SELECT on rotation_runners to pii_vault_auditor",
    "SELECT on rotation_runners to pii_vault_reseal",
    "SELECT on rotation_runners to pii_vault_rewrap",
    "SELECT on token_keys to pii_vault_ingest",
    "SELECT on token_keys to pii_vault_redrive",
    "SELECT on token_keys to pii_vault_reseal",
    "SELECT on token_maps to pii_vault_auditor",
    "SELECT on user_logins to pii_vault_analyst",
    "SELECT on vault to pii_vault_auditor",
    "SELECT on vault to pii_vault_ingest",
    "SELECT on vault to pii_vault_redrive",
    "SELECT on vault to pii_vault_reseal",
    "SELECT on vault to pii_vault_rewrap",
    "USAGE on schema pii_vault to pii_vault_approver",
    "USAGE on schema pii_vault to pii_vault_auditor",
    "USAGE on schema pii_vault to pii_vault_ingest",
    "USAGE on schema pii_vault to pii_vault_lookup",
    "USAGE on schema pii_vault to pii_vault_notary",
    "USAGE on schema pii_vault to pii_vault_redrive",
    "USAGE on schema pii_vault to pii_vault_reseal",
    "USAGE on schema pii_vault to pii_vault_rewrap",
    "USAGE on schema pii_vault to pii_vault_unmask",
];

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
