//! Around the functions of unmasking: tables, the log and definitions are out of reach, and nothing that a login may make
//! comes between them.

use crate::support::receipts::{DAY, arm, ask_for, assert_denied, fetch, record, record_and_arm};
use crate::support::{Who, World, sqlstate};

const OUT_OF_REACH: [&str; 39] = [
    "SELECT ip_ciphertext FROM pii_vault.login_events",
    "SELECT device_id_ciphertext FROM pii_vault.login_events_default",
    "SELECT count(*) FROM pii_vault.login_events",
    "SELECT wrapped_key FROM pii_vault.data_keys",
    "SELECT wrapped_key FROM pii_vault.token_keys",
    "SELECT FROM pii_vault.dead_letter_keys",
    "SELECT FROM user_logins",
    "SELECT FROM pii_vault.receipts",
    "SELECT FROM pii_vault.receipt_rows",
    "SELECT FROM pii_vault.access_grants",
    "SELECT FROM pii_vault.audit_log",
    "INSERT INTO pii_vault.audit_log SELECT",
    "COPY pii_vault.audit_log FROM STDIN",
    "COPY pii_vault.audit_log TO STDOUT",
    "UPDATE pii_vault.audit_log SET reason = NULL",
    "DELETE FROM pii_vault.audit_log",
    "TRUNCATE pii_vault.audit_log",
    "UPDATE pii_vault.audit_head SET seq = 0",
    "DO $$ BEGIN LOCK TABLE pii_vault.audit_turn IN ACCESS SHARE MODE; END $$",
    "DO $$ BEGIN LOCK TABLE pii_vault.audit_head IN ROW EXCLUSIVE MODE; END $$",
    "UPDATE pii_vault.receipts SET recorded_at = clock_timestamp()",
    "INSERT INTO pii_vault.receipt_rows VALUES (gen_random_uuid(), 1, '2026-01-01', gen_random_uuid())",
    "UPDATE pii_vault.access_requests SET max_values = 1000000",
    "INSERT INTO pii_vault.access_policy VALUES (1, 1000000, 1, 60, '.+', 'scheduled')",
    "DELETE FROM pii_vault.access_revocations",
    "INSERT INTO pii_vault.checkpoints SELECT",
    "SELECT pii_vault.set_policy(1000000, 1, 60, '.+', 'scheduled', 'x')",
    "SELECT pii_vault.audit_append(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    "SELECT pii_vault.own_receipt(gen_random_uuid())",
    "SELECT pii_vault.select_events('a', NULL, '{}', '{}', '{}', NULL, NULL)",
    "SET ROLE pii_vault_owner",
    "SET session_replication_role = replica",
    "ALTER TABLE pii_vault.audit_log DISABLE TRIGGER ALL",
    "DROP TABLE pii_vault.receipts",
    "DROP FUNCTION pii_vault.fetch_refusal",
    "ALTER FUNCTION pii_vault.fetch_unmask SET plan_cache_mode = auto",
    "COMMENT ON TABLE pii_vault.audit_log IS ''",
    "CREATE FUNCTION pii_vault.own_receipt(receipt text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE FUNCTION pii_vault.audit_lock() RETURNS timestamptz LANGUAGE sql AS 'SELECT now()'",
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_the_functions_answers() {
    let world = World::to_unmask(3, 10).await;
    for who in [Who::Officer, Who::Lookup, Who::Approver] {
        assert_denied(&world.connect(who).await, &OUT_OF_REACH).await;
    }
    // Each has its own functions.
    let ask = format!("SELECT {}", ask_for(DAY));
    let lookup = "SELECT pii_vault.record_lookup('ip', 1, 'why', 'C-1')";
    let decide = "SELECT pii_vault.decide_access(gen_random_uuid(), 'approved', NULL)";
    assert_denied(&world.connect(Who::Officer).await, &[lookup, decide]).await;
    assert_denied(&world.connect(Who::Lookup).await, &[&ask, decide]).await;
    assert_denied(&world.connect(Who::Approver).await, &[&ask, lookup]).await;
    // Whoever has no dealings with PostgreSQL beyond them can neither reach out nor hand a right on.
    let officer = world.connect(Who::Officer).await;
    assert_eq!(sqlstate(&officer, "SELECT dblink('', '')").await.as_deref(), Some("42883"));
    assert_denied(&officer, &["COPY (SELECT 1) TO PROGRAM 'cat'", "CREATE EXTENSION dblink", "LOAD 'auto_explain'"])
        .await;
    officer.batch_execute("GRANT EXECUTE ON FUNCTION pii_vault.fetch_unmask TO PUBLIC").await.unwrap();
    let nobody = "SELECT has_function_privilege('public', 'pii_vault.fetch_unmask(uuid, integer)', 'EXECUTE')";
    assert!(!world.sql.query_one(nobody, &[]).await.unwrap().get::<_, bool>(0), "no more than a warning");
}

/// Not where the schema public may be written to by everybody, as it could before PostgreSQL 15.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_an_officer_makes_comes_between_the_functions() {
    let world = World::to_unmask(3, 10).await;
    world.sql.batch_execute("GRANT CREATE ON SCHEMA public TO PUBLIC").await.unwrap();
    let officer = world.connect(Who::Officer).await;
    officer
        .batch_execute(
            "CREATE TEMP TABLE audit_head (only_one boolean, seq bigint, hash bytea);
             CREATE TEMP TABLE receipts (id uuid); CREATE TEMP TABLE access_policy (alone_limit int);
             CREATE DOMAIN pg_temp.text AS pg_catalog.text; CREATE DOMAIN public.integer AS pg_catalog.int4;
             CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT '2020-01-01'::timestamptz $$;
             CREATE FUNCTION public.pg_xact_status(xid8) RETURNS text LANGUAGE sql AS $$ SELECT 'committed' $$;
             CREATE FUNCTION public.pg_current_wal_flush_lsn() RETURNS pg_lsn LANGUAGE sql AS $$ SELECT 'FFFFFFFF/0'::pg_lsn $$;
             CREATE FUNCTION public.current_setting(text) RETURNS text LANGUAGE sql AS $$ SELECT 'read committed' $$;
             CREATE FUNCTION public.yes(uuid, uuid) RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;
             CREATE FUNCTION public.yes(bigint, integer) RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;
             CREATE FUNCTION public.yes(xid8, xid8) RETURNS boolean LANGUAGE sql AS $$ SELECT false $$;
             CREATE OPERATOR public.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = public.yes);
             CREATE OPERATOR public.<= (LEFTARG = bigint, RIGHTARG = integer, FUNCTION = public.yes);
             CREATE OPERATOR public.= (LEFTARG = xid8, RIGHTARG = xid8, FUNCTION = public.yes);
             SET search_path = pg_temp, public, pg_catalog, pii_vault",
        )
        .await
        .unwrap();
    let receipt = record_and_arm(&officer).await;
    assert_eq!(fetch(&officer, receipt).await, Ok(3));
    world.set_policy(3).await;
    let over = record(&officer).await;
    assert_eq!(arm(&officer, over).await.as_deref(), Ok("alone_limit"));
    officer.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    assert_eq!(fetch(&officer, receipt).await, Err("25000".to_owned()));
    officer.batch_execute("ROLLBACK").await.unwrap();
    world
        .sql
        .batch_execute("UPDATE pii_vault.receipts SET recorded_at = recorded_at - interval '10 minutes'")
        .await
        .unwrap();
    assert_eq!(fetch(&officer, receipt).await, Err("stale".to_owned()));
    assert_eq!(world.assert_one_chain().await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_outlives_its_membership_is_refused() {
    let world = World::to_unmask(3, 10).await;
    let (officer, approver, lookup) =
        (world.connect(Who::Officer).await, world.connect(Who::Approver).await, world.connect(Who::Lookup).await);
    let receipt = record_and_arm(&officer).await;
    assert_eq!(fetch(&officer, receipt).await, Ok(3));
    let ask = "SELECT pii_vault.request_access('{ip}', 'why', 'C-1', 10, 3600)";
    let looked_up: uuid::Uuid =
        lookup.query_one("SELECT pii_vault.record_lookup('ip', 1, 'why', 'C-1')", &[]).await.unwrap().get(0);
    lookup.batch_execute(&format!("SELECT pii_vault.arm_receipt('{looked_up}')")).await.unwrap();
    let id = &world.id;
    world
        .sql
        .batch_execute(&format!(
            "REVOKE pii_vault_unmask FROM officer_{id}; REVOKE pii_vault_approver FROM approver_{id};
             REVOKE pii_vault_lookup FROM lookup_{id}"
        ))
        .await
        .unwrap();
    let before = world.assert_one_chain().await;
    assert_denied(
        &officer,
        &[
            &format!("SELECT pii_vault.fetch_unmask('{receipt}', 0)"),
            &format!("SELECT pii_vault.arm_receipt('{receipt}')"),
            &format!("SELECT pii_vault.settle_unmask('{receipt}', 1, '{{}}', '{{}}')"),
            &format!("SELECT pii_vault.record_refusal('{receipt}')"),
            &format!("SELECT {}", ask_for(DAY)),
            ask,
        ],
    )
    .await;
    assert_denied(&approver, &["SELECT pii_vault.decide_access(gen_random_uuid(), 'approved', NULL)"]).await;
    assert_denied(
        &lookup,
        &[
            &format!("SELECT pii_vault.fetch_token_keys('{looked_up}')"),
            "SELECT pii_vault.record_lookup('ip', 1, 'why', 'C-1')",
        ],
    )
    .await;
    assert_eq!(world.assert_one_chain().await, before);
}

/// Who holds both roles, with INHERIT or without it, under either: it is the login that counts.
#[tokio::test(flavor = "multi_thread")]
async fn an_officer_who_approves_does_not_approve_herself() {
    let world = World::to_unmask(3, 0).await;
    let id = &world.id;
    let both = format!("GRANT pii_vault_approver TO officer_{id}; ALTER ROLE officer_{id} NOINHERIT");
    world.sql.batch_execute(&both).await.unwrap();
    let officer = world.connect(Who::Officer).await;
    let ask = "SELECT request FROM pii_vault.request_access('{ip}', 'why', 'C-1', 10, 3600)";
    let request: uuid::Uuid = officer.query_one(ask, &[]).await.unwrap().get(0);
    officer.batch_execute("SET ROLE NONE").await.unwrap();
    assert_denied(&officer, &[&format!("SELECT {}", ask_for(DAY)), ask]).await;
    officer.batch_execute("SET ROLE pii_vault_approver").await.unwrap();
    let approve = format!("SELECT pii_vault.decide_access('{request}', 'approved', NULL)::text");
    assert_eq!(officer.query_one(&approve, &[]).await.unwrap().get::<_, String>(0), "own_request");
    officer.batch_execute("SET ROLE pii_vault_unmask").await.unwrap();
    let receipt = record(&officer).await;
    assert_eq!(arm(&officer, receipt).await.as_deref(), Ok("not_approved"));
    let by_hand = format!(
        "INSERT INTO pii_vault.access_decisions VALUES \
         ('{request}', 'officer_{id}', 'officer_{id}', clock_timestamp(), 'approved')"
    );
    assert_eq!(sqlstate(&world.sql, &by_hand).await.as_deref(), Some("23514"), "by the owner neither");
}
