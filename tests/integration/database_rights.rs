//! Every role on every schema, table, column, sequence, view and function: what the catalog says, and what is refused.

mod rights;

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;
use uuid::Uuid;

use rights::RIGHTS;

use crate::support::{PASSWORD, World, login, sqlstate};

/// By privilege functions, not by lists of grants: these see what comes by PUBLIC or by membership as well.
const WALK: &str = r"
WITH grantee AS (
    SELECT rolname::text AS name FROM pg_roles WHERE rolname LIKE 'pii\_vault\_%' AND rolname <> 'pii_vault_owner'
    UNION ALL SELECT 'public'
), relation AS (
    SELECT oid, relkind,
           CASE relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'view ' WHEN 'S' THEN 'sequence ' ELSE 'table ' END
           || regexp_replace(relname, '_\d{4}_\d\d$', '_YYYY_MM') AS object
    FROM pg_class
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND (relnamespace = 'pii_vault'::regnamespace OR pg_get_userbyid(relowner) = 'pii_vault_owner')
), routine AS (
    SELECT oid, 'function ' || proname AS object FROM pg_proc
    WHERE pronamespace = 'pii_vault'::regnamespace OR pg_get_userbyid(proowner) = 'pii_vault_owner'
), held AS (
    SELECT object, name, privilege FROM relation, grantee,
        unnest(CASE relkind WHEN 'S' THEN '{USAGE,SELECT,UPDATE}'
               ELSE '{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}' END::text[]) AS privilege
    WHERE CASE relkind WHEN 'S' THEN has_sequence_privilege(name, oid, privilege)
          ELSE has_table_privilege(name, oid, privilege) END
    UNION ALL
    SELECT object, name, privilege || ' (' || string_agg(attname, ', ' ORDER BY attnum) || ')'
    FROM relation JOIN pg_attribute ON attrelid = oid AND attnum > 0 AND NOT attisdropped, grantee,
        unnest('{SELECT,INSERT,UPDATE,REFERENCES}'::text[]) AS privilege
    WHERE relkind <> 'S' AND has_column_privilege(name, oid, attnum, privilege)
      AND NOT has_table_privilege(name, oid, privilege)
    GROUP BY object, oid, name, privilege
    UNION ALL
    SELECT object, name, 'EXECUTE' FROM routine, grantee WHERE has_function_privilege(name, oid, 'EXECUTE')
    UNION ALL
    SELECT 'schema ' || nspname, name, privilege FROM pg_namespace, grantee, unnest('{USAGE,CREATE}'::text[]) AS privilege
    WHERE pg_get_userbyid(nspowner) = 'pii_vault_owner' AND has_schema_privilege(name, oid, privilege)
), object AS (
    SELECT object FROM relation UNION SELECT object FROM routine
    UNION SELECT 'schema ' || nspname FROM pg_namespace WHERE pg_get_userbyid(nspowner) = 'pii_vault_owner'
)
SELECT DISTINCT object, replace(name, 'pii_vault_', '') || ' ' || privilege
FROM object LEFT JOIN held USING (object)";

type Rights = BTreeMap<String, BTreeSet<String>>;

async fn walk(world: &World) -> Rights {
    let mut rights = Rights::new();
    for row in world.sql.query(WALK, &[]).await.expect("the catalog") {
        rights.entry(row.get(0)).or_default().extend(row.get::<_, Option<String>>(1));
    }
    rights
}

/// A vault with rows, a dead letter and a month's partition.
async fn vault() -> World {
    let world = World::vault().await;
    world.send([login(1).to_string(), "{".to_owned()]).await;
    world.drain(&[]);
    world
}

async fn strings(world: &World, sql: &str) -> Vec<String> {
    world.sql.query(sql, &[]).await.expect("an answer").iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_has_what_is_written_here_and_nothing_else() {
    let world = vault().await;
    let expected = RIGHTS.iter().map(|(object, rights)| line(object, rights.iter().map(|right| (*right).to_owned())));
    let expected: BTreeSet<_> = expected.collect();
    let found: BTreeSet<_> = walk(&world).await.into_iter().map(|(object, rights)| line(&object, rights)).collect();
    let (more, less) = (&found - &expected, &expected - &found);
    assert!(more.is_empty() && less.is_empty(), "found:\n{more:#?}\ninstead of:\n{less:#?}");
}

fn line(object: &str, rights: impl IntoIterator<Item = String>) -> String {
    format!("{object}: {}", rights.into_iter().collect::<Vec<_>>().join("; "))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_right_comes_by_a_way_that_the_walk_does_not_see() {
    let world = vault().await;
    for (what, sql) in [
        (
            "a right for others than the roles, or one that may be handed on",
            "SELECT acl.acl::text FROM (
                 SELECT relacl AS acl FROM pg_class WHERE pg_get_userbyid(relowner) = 'pii_vault_owner'
                 UNION ALL SELECT proacl FROM pg_proc WHERE pg_get_userbyid(proowner) = 'pii_vault_owner'
                 UNION ALL SELECT nspacl FROM pg_namespace WHERE pg_get_userbyid(nspowner) = 'pii_vault_owner'
                 UNION ALL SELECT attacl FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid
                     WHERE pg_get_userbyid(relowner) = 'pii_vault_owner'
             ) AS acl, aclexplode(acl.acl) AS item
             WHERE grantee <> 'pii_vault_owner'::regrole AND (
                 is_grantable OR grantee = 0 OR pg_get_userbyid(grantee) NOT LIKE 'pii\\_vault\\_%')",
        ),
        (
            "rights that objects to come would have",
            "SELECT defaclacl::text FROM pg_default_acl, aclexplode(defaclacl)
             WHERE grantee <> 'pii_vault_owner'::regrole",
        ),
        (
            "a role that is a member of another, or may do what no role should",
            "SELECT rolname::text FROM pg_roles LEFT JOIN pg_auth_members ON member = pg_roles.oid
             WHERE rolname LIKE 'pii\\_vault\\_%' AND (member IS NOT NULL OR rolcanlogin OR rolsuper OR rolcreaterole
                 OR rolcreatedb OR rolreplication OR rolbypassrls)",
        ),
    ] {
        assert_eq!(strings(&world, sql).await, Vec::<String>::new(), "{what}");
    }
}

/// The catalog's word is not taken for it: each role tries everything, under a login that has this role alone.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_role_lacks_it_is_refused() {
    let world = vault().await;
    let rights = walk(&world).await;
    let roles = strings(&world, "SELECT rolname::text FROM pg_roles WHERE rolname LIKE 'pii\\_vault\\_%'").await;
    assert!(roles.len() >= 11, "{roles:?}");
    let tries = tries(&world).await;
    let mut wrong = Vec::new();
    for role in roles.iter().filter(|role| *role != "pii_vault_owner") {
        let client = login_with(&world, role).await;
        let short = role.trim_start_matches("pii_vault_");
        for (object, privilege, sql) in &tries {
            let has = |right: &String| right.starts_with(&format!("{short} {privilege}"));
            let expected = rights.get(object).is_some_and(|rights| rights.iter().any(has));
            // What is let through may still fail: for a NULL, for one.
            client.batch_execute("BEGIN").await.expect("a transaction");
            // Into a view that joins, nobody can write (55000), and PostgreSQL says so before it looks at rights.
            let refused = matches!(sqlstate(&client, sql).await.as_deref(), Some("42501" | "55000"));
            client.batch_execute("ROLLBACK").await.expect("undone");
            if refused == expected {
                wrong.push(format!("{role}: {sql}: refused is {refused}"));
            }
        }
        for other in roles.iter().filter(|other| *other != role) {
            if sqlstate(&client, &format!("SET ROLE {other}")).await.as_deref() != Some("42501") {
                wrong.push(format!("{role} takes on {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// (object, privilege, statement that needs it).
async fn tries(world: &World) -> Vec<(String, &'static str, String)> {
    let mut tries = vec![
        ("schema pii_vault".to_owned(), "CREATE", "CREATE TABLE pii_vault.mine ()".to_owned()),
        ("schema pii_vault".to_owned(), "CREATE", "CREATE FUNCTION pii_vault.f() RETURNS int RETURN 1".to_owned()),
        ("schema public".to_owned(), "CREATE", "CREATE TABLE public.mine ()".to_owned()),
    ];
    let relations = "SELECT (CASE relkind WHEN 'v' THEN 'view ' ELSE 'table ' END) \
                     || regexp_replace(relname, '_\\d{4}_\\d\\d$', '_YYYY_MM'), oid::regclass::text, attname::text \
                     FROM pg_class JOIN pg_attribute ON attrelid = oid AND attnum = 1 \
                     WHERE relkind IN ('r', 'p', 'v') AND pg_get_userbyid(relowner) = 'pii_vault_owner'";
    for row in world.sql.query(relations, &[]).await.expect("relations") {
        let (object, table, column): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        for (privilege, sql) in [
            ("SELECT", format!("SELECT FROM {table}")),
            ("INSERT", format!("INSERT INTO {table} DEFAULT VALUES")),
            ("UPDATE", format!("UPDATE {table} SET {column} = NULL WHERE false")),
            ("DELETE", format!("DELETE FROM {table} WHERE false")),
            ("TRUNCATE", format!("TRUNCATE {table}")),
            ("TRUNCATE", format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")),
        ] {
            if privilege != "TRUNCATE" || !object.starts_with("view") {
                tries.push((object.clone(), privilege, sql));
            }
        }
    }
    // A NULL that the planner sees would spare a strict function the call, and with it the refusal.
    let routines = "SELECT 'function ' || proname, format('SELECT %s(%s)', oid::regproc, \
                    (SELECT string_agg(format('(SELECT NULL::%s)', argument::regtype), ', ') \
                     FROM unnest(proargtypes) AS argument)) FROM pg_proc \
                    WHERE pg_get_userbyid(proowner) = 'pii_vault_owner'";
    for row in world.sql.query(routines, &[]).await.expect("routines") {
        tries.push((row.get(0), "EXECUTE", row.get(1)));
    }
    tries
}

async fn login_with(world: &World, role: &str) -> Client {
    let login = format!("rights_{}", Uuid::new_v4().simple());
    let sql = format!("CREATE ROLE {login} LOGIN PASSWORD '{PASSWORD}'; GRANT {role} TO {login}");
    world.sql.batch_execute(&sql).await.expect("a login");
    let client = world.connect_as(&login).await;
    client.batch_execute(&format!("SET ROLE {role}")).await.expect("its role");
    client
}
