//! What each role may do, read from the catalog: a grant too many shows here, wherever it is made.

use crate::support::World;

/// All that anybody but the owner may do. Column by column where a grant names columns.
const GRANTS: [&str; 31] = [
    "pii_vault_analyst: SELECT on user_logins",
    "pii_vault_ingest: EXECUTE on ensure_month",
    "pii_vault_ingest: EXECUTE on hold_keys",
    "pii_vault_ingest: INSERT on data_keys.commitment",
    "pii_vault_ingest: INSERT on data_keys.id",
    "pii_vault_ingest: INSERT on data_keys.kms_key",
    "pii_vault_ingest: INSERT on data_keys.max_step",
    "pii_vault_ingest: INSERT on data_keys.wrapped_key",
    "pii_vault_ingest: INSERT on dead_letter_keys.commitment",
    "pii_vault_ingest: INSERT on dead_letter_keys.id",
    "pii_vault_ingest: INSERT on dead_letter_keys.kms_key",
    "pii_vault_ingest: INSERT on dead_letter_keys.max_step",
    "pii_vault_ingest: INSERT on dead_letter_keys.wrapped_key",
    "pii_vault_ingest: INSERT on dead_letters.body_ciphertext",
    "pii_vault_ingest: INSERT on dead_letters.create_date",
    "pii_vault_ingest: INSERT on dead_letters.dead_letter_key_id",
    "pii_vault_ingest: INSERT on dead_letters.member",
    "pii_vault_ingest: INSERT on dead_letters.message_id",
    "pii_vault_ingest: INSERT on dead_letters.reason",
    "pii_vault_ingest: INSERT on dead_letters.size",
    "pii_vault_ingest: INSERT on login_events",
    "pii_vault_ingest: SELECT on token_keys",
    "pii_vault_ingest: SELECT on vault",
    "pii_vault_ingest: USAGE on pii_vault",
    "pii_vault_redrive: SELECT on dead_letters.create_date",
    "pii_vault_redrive: SELECT on dead_letters.member",
    "pii_vault_redrive: SELECT on dead_letters.message_id",
    "pii_vault_redrive: SELECT on dead_letters.reason",
    "pii_vault_redrive: SELECT on dead_letters.received_at",
    "pii_vault_redrive: SELECT on dead_letters.size",
    "pii_vault_redrive: USAGE on pii_vault",
];

#[tokio::test(flavor = "multi_thread")]
async fn nobody_may_do_more_than_this() {
    let world = World::vault().await;
    let rows = world
        .sql
        .query(
            "WITH acls AS (
                 SELECT relname::text AS object, relacl AS acl, relowner AS owner FROM pg_class
                 WHERE (relnamespace = 'pii_vault'::regnamespace OR oid = 'public.user_logins'::regclass)
                 UNION ALL
                 SELECT relname || '.' || attname, attacl, relowner FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid
                 WHERE (relnamespace = 'pii_vault'::regnamespace OR c.oid = 'public.user_logins'::regclass)
                 UNION ALL
                 SELECT proname, coalesce(proacl, acldefault('f', proowner)), proowner FROM pg_proc
                 WHERE pronamespace = 'pii_vault'::regnamespace
                 UNION ALL
                 SELECT nspname, nspacl, nspowner FROM pg_namespace WHERE nspname = 'pii_vault'
             )
             SELECT format('%s: %s on %s', coalesce(rolname, 'public'), privilege_type, object)
             FROM acls, aclexplode(acl) LEFT JOIN pg_roles ON pg_roles.oid = grantee
             WHERE grantee <> owner",
            &[],
        )
        .await
        .unwrap();
    let mut found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    found.sort();
    assert_eq!(found, GRANTS);
}
