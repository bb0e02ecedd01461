//! Roles, who holds them, and what they may do.

use diesel_async::SimpleAsyncConnection as _;

use super::super::{Connection, DbError};
use super::lines;

/// Tables that ingestion writes to and must not read.
const UNREADABLE: [&str; 5] = ["login_events", "login_events_default", "dead_letters", "data_keys", "dead_letter_keys"];

/// The roles that the migrations make.
const ROLES: &str = "unnest(ARRAY['owner', 'ingest', 'analyst', 'unmask', 'lookup', 'approver', 'auditor', 'notary', \
                     'rewrap', 'reseal', 'redrive']) AS short (name)";

/// What [`try_to_read`] found.
#[derive(Debug)]
pub enum Tried {
    /// Each was refused.
    Refused,
    /// Not tried, for this login may not take on the role; by its privileges each would be refused.
    WouldBeRefused,
    /// These could be read.
    Readable(Vec<String>),
}

/// Roles of the vault that are missing, or could log in, or have a right over the whole cluster.
///
/// # Errors
/// [`DbError`].
pub async fn faulty_roles(conn: &mut Connection) -> Result<Vec<String>, DbError> {
    let sql = format!(
        "SELECT wanted || CASE WHEN r.oid IS NULL THEN ' is missing' WHEN r.rolcanlogin THEN ' can log in' \
         ELSE ' is more than a role: superuser, CREATEROLE, CREATEDB, REPLICATION or BYPASSRLS' END AS line \
         FROM (SELECT 'pii_vault_' || name AS wanted FROM {ROLES}) AS w LEFT JOIN pg_roles AS r ON r.rolname = wanted \
         WHERE r.oid IS NULL OR r.rolcanlogin OR r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication \
         OR r.rolbypassrls ORDER BY 1"
    );
    lines(conn, "reading the roles", &sql).await
}

/// Roles of the vault that are members of any other role.
///
/// # Errors
/// [`DbError`].
pub async fn nested_roles(conn: &mut Connection) -> Result<Vec<String>, DbError> {
    let sql = format!(
        "SELECT m.rolname || ' is a member of ' || g.rolname AS line FROM pg_auth_members AS a \
         JOIN pg_roles AS m ON m.oid = a.member JOIN pg_roles AS g ON g.oid = a.roleid \
         WHERE m.rolname IN (SELECT 'pii_vault_' || name FROM {ROLES}) ORDER BY 1"
    );
    lines(conn, "reading memberships", &sql).await
}

/// Logins that may connect to this database and hold both of two roles, directly or through others. Superusers are
/// left out: they hold every role.
///
/// # Errors
/// [`DbError`].
pub async fn hold_both(conn: &mut Connection, one: &str, other: &str) -> Result<Vec<String>, DbError> {
    let sql = format!(
        "SELECT l.rolname::text AS line FROM pg_roles AS l \
         JOIN pg_roles AS one ON one.rolname = 'pii_vault_{one}' \
         JOIN pg_roles AS other ON other.rolname = 'pii_vault_{other}' \
         WHERE l.rolcanlogin AND NOT l.rolsuper AND has_database_privilege(l.oid, current_database(), 'CONNECT') \
         AND {} AND {} ORDER BY 1",
        holds("one"),
        holds("other")
    );
    lines(conn, "reading memberships", &sql).await
}

/// Logins that may connect and hold a role of PostgreSQL's that is above all grants. Superusers are left out.
///
/// # Errors
/// [`DbError`].
pub async fn read_everything(conn: &mut Connection) -> Result<Vec<String>, DbError> {
    let sql = format!(
        "SELECT l.rolname || ' holds ' || g.rolname AS line FROM pg_roles AS l JOIN pg_roles AS g ON g.rolname IN \
             ('pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files', 'pg_write_server_files', \
              'pg_execute_server_program') \
         WHERE l.rolcanlogin AND NOT l.rolsuper AND has_database_privilege(l.oid, current_database(), 'CONNECT') \
         AND {} ORDER BY 1",
        holds("g")
    );
    lines(conn, "reading memberships", &sql).await
}

/// Logins that may connect and are members of the owner, superusers left out.
///
/// # Errors
/// [`DbError`].
pub async fn owners(conn: &mut Connection) -> Result<Vec<String>, DbError> {
    hold_both(conn, "owner", "owner").await
}

/// Superusers that can log in. The one that the cluster was made with is left out: there is always one.
///
/// # Errors
/// [`DbError`].
pub async fn superusers(conn: &mut Connection) -> Result<Vec<String>, DbError> {
    let sql = "SELECT rolname::text AS line FROM pg_roles WHERE rolsuper AND rolcanlogin AND oid <> 10 ORDER BY 1";
    lines(conn, "reading the roles", sql).await
}

/// Functions that everybody may call.
///
/// # Errors
/// [`DbError`].
pub async fn public_functions(conn: &mut Connection) -> Result<Vec<String>, DbError> {
    let sql = "SELECT p.proname || '()' AS line FROM pg_proc AS p \
               CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS x \
               WHERE p.pronamespace = 'pii_vault'::regnamespace AND x.grantee = 0 ORDER BY 1";
    lines(conn, "reading functions", sql).await
}

/// Functions that run as their owner and look names up in a path of the caller's.
///
/// # Errors
/// [`DbError`].
pub async fn unpinned_functions(conn: &mut Connection) -> Result<Vec<String>, DbError> {
    let sql = "SELECT proname || '()' AS line FROM pg_proc \
               WHERE pronamespace = 'pii_vault'::regnamespace AND prosecdef \
               AND NOT coalesce('search_path=pii_vault, pg_temp' = ANY (proconfig), false) ORDER BY 1";
    lines(conn, "reading functions", sql).await
}

/// Tables, views and functions of the vault that belong to somebody else than the owner.
///
/// # Errors
/// [`DbError`].
pub async fn foreign_objects(conn: &mut Connection) -> Result<Vec<String>, DbError> {
    let sql = "SELECT what || ' belongs to ' || pg_get_userbyid(owner) AS line FROM ( \
                   SELECT relname::text AS what, relowner AS owner FROM pg_class \
                   WHERE relnamespace = 'pii_vault'::regnamespace OR oid = to_regclass('public.user_logins') \
                   UNION ALL SELECT proname || '()', proowner FROM pg_proc \
                   WHERE pronamespace = 'pii_vault'::regnamespace \
                   UNION ALL SELECT 'schema pii_vault', nspowner FROM pg_namespace WHERE nspname = 'pii_vault' \
               ) AS objects WHERE pg_get_userbyid(owner) <> 'pii_vault_owner' ORDER BY 1";
    lines(conn, "reading owners", sql).await
}

/// Every right that somebody else than the owner was granted, as `INSERT on login_events to pii_vault_ingest`.
///
/// # Errors
/// [`DbError`].
pub async fn grants(conn: &mut Connection) -> Result<Vec<String>, DbError> {
    let sql = "\
        WITH relations AS ( \
            SELECT oid, relname, relacl FROM pg_class WHERE relnamespace = 'pii_vault'::regnamespace \
            OR oid = to_regclass('public.user_logins') \
        ), granted AS ( \
            SELECT x.privilege_type AS privilege, 'schema pii_vault' AS object, x.grantee \
            FROM pg_namespace, aclexplode(nspacl) AS x WHERE nspname = 'pii_vault' \
            UNION ALL SELECT x.privilege_type, relname, x.grantee FROM relations, aclexplode(relacl) AS x \
            UNION ALL SELECT x.privilege_type || ' (' || string_agg(a.attname, ', ' ORDER BY a.attname COLLATE \"C\") || ')', \
                r.relname, x.grantee \
            FROM relations AS r JOIN pg_attribute AS a ON a.attrelid = r.oid, aclexplode(a.attacl) AS x \
            GROUP BY x.privilege_type, r.relname, x.grantee \
            UNION ALL SELECT x.privilege_type, proname || '()', x.grantee FROM pg_proc, aclexplode(proacl) AS x \
            WHERE pronamespace = 'pii_vault'::regnamespace \
        ) \
        SELECT privilege || ' on ' || object || ' to ' \
            || CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END AS line \
        FROM granted WHERE grantee = 0 OR pg_get_userbyid(grantee) <> 'pii_vault_owner' ORDER BY 1";
    lines(conn, "reading grants", sql).await
}

/// Tries to read as the role of ingestion, in transactions that are rolled back.
///
/// # Errors
/// [`DbError`].
pub async fn try_to_read(conn: &mut Connection) -> Result<Tried, DbError> {
    let sql = format!(
        "SELECT relname::text AS line FROM pg_class WHERE relnamespace = 'pii_vault'::regnamespace \
         AND relname IN ('{}') AND has_any_column_privilege('pii_vault_ingest', oid, 'SELECT') ORDER BY 1",
        UNREADABLE.join("', '")
    );
    let mut readable = lines(conn, "reading privileges of ingestion", &sql).await?;
    let mut tried = true;
    for table in UNREADABLE {
        tried &= conn.batch_execute("BEGIN; SET LOCAL ROLE pii_vault_ingest").await.is_ok();
        if tried && conn.batch_execute(&format!("SELECT FROM pii_vault.{table} LIMIT 1")).await.is_ok() {
            readable.push(table.to_owned());
        }
        conn.batch_execute("ROLLBACK").await.map_err(DbError::during("rolling a trial back"))?;
    }
    readable.sort();
    readable.dedup();
    Ok(match (readable.is_empty(), tried) {
        (false, _) => Tried::Readable(readable),
        (true, true) => Tried::Refused,
        (true, false) => Tried::WouldBeRefused,
    })
}

/// Whether the login `l` may use the role. Since PostgreSQL 16 a member may be one that can only grant the role
/// to others, as who made it is.
fn holds(role: &str) -> String {
    format!(
        "CASE WHEN current_setting('server_version_num')::integer < 160000 THEN pg_has_role(l.oid, {role}.oid, 'MEMBER') \
         ELSE pg_has_role(l.oid, {role}.oid, 'USAGE') OR pg_has_role(l.oid, {role}.oid, 'SET') END"
    )
}
