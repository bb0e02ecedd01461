use serde_json::Value;

use crate::support::{Who, World, login, soak};

const TABLES: &str = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class \
                      WHERE relnamespace = 'pii_vault'::regnamespace AND relkind IN ('r', 'p') \
                      AND NOT relispartition";

async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(world: &World, sql: &str) -> T {
    world.sql.query_one(sql, &[]).await.expect("an answer").get(0)
}

fn init(world: &World, args: &[&str]) -> crate::support::Running {
    world.pii_vault(Who::Administrator, &[&["init", "--output", "json"], args].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn makes_a_vault_without_a_superuser_and_changes_nothing_the_second_time() {
    let world = World::empty().await;
    let first = init(&world, &["--create-kms-keys"]).finish().done().json();
    assert_eq!(first["created_kms_keys"].as_array().map(Vec::len), Some(4));
    assert_eq!(first["created_token_key"], true);
    assert!(first["migrations"].as_array().is_some_and(|applied| applied.len() >= 8));

    let second = init(&world, &[]).finish().done().json();
    assert_eq!(second["vault"], first["vault"]);
    assert_eq!(second["created_token_key"], false);
    assert_eq!(second["created_kms_keys"], Value::Array(vec![]));
    assert_eq!(second["migrations"], Value::Array(vec![]));

    let tables: String = one(&world, TABLES).await;
    assert_eq!(
        tables,
        "__diesel_schema_migrations access_decisions access_policy access_requests access_revocations audit_head \
         audit_log audit_turn checkpoints data_keys dead_letter_keys dead_letters login_events receipt_rows receipts redrive_jobs \
         redrive_rows retired_kms_keys rotation_failures rotation_handouts rotation_jobs rotation_runners rotation_scans \
         set_aside_events token_keys vault"
    );
    assert_eq!(world.count("pii_vault.vault").await, 1);
    assert_eq!(world.count("pii_vault.token_keys WHERE state = 'active' AND slot = 'a'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_belongs_to_an_owner_who_cannot_log_in() {
    let world = World::vault().await;
    let strangers: Option<String> = one(
        &world,
        "SELECT string_agg(what, ', ') FROM (
             SELECT relname::text AS what, relowner AS owner FROM pg_class
             WHERE relnamespace = 'pii_vault'::regnamespace OR oid = 'public.user_logins'::regclass
             UNION ALL SELECT proname, proowner FROM pg_proc WHERE pronamespace = 'pii_vault'::regnamespace
             UNION ALL SELECT typname, typowner FROM pg_type WHERE typnamespace = 'pii_vault'::regnamespace
             UNION ALL SELECT nspname, nspowner FROM pg_namespace WHERE nspname = 'pii_vault'
         ) AS objects WHERE owner <> 'pii_vault_owner'::regrole",
    )
    .await;
    assert_eq!(strangers, None);
    let can_log_in: i64 =
        one(&world, "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'pii\\_vault\\_%' AND (rolcanlogin OR rolsuper)")
            .await;
    assert_eq!(can_log_in, 0);
    let callable: Option<String> = one(
        &world,
        "SELECT string_agg(proname, ', ') FROM pg_proc WHERE pronamespace = 'pii_vault'::regnamespace \
         AND has_function_privilege('public', oid, 'EXECUTE')",
    )
    .await;
    assert_eq!(callable, None, "EXECUTE is revoked from PUBLIC");
    let unpinned: Option<String> = one(
        &world,
        "SELECT string_agg(proname, ', ') FROM pg_proc WHERE pronamespace = 'pii_vault'::regnamespace AND prosecdef \
         AND NOT EXISTS (SELECT FROM unnest(proconfig) AS setting WHERE setting LIKE 'search_path=pii_vault, pg_temp')",
    )
    .await;
    assert_eq!(unpinned, None, "definer functions pin their search_path");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_make_one_vault() {
    let world = World::empty().await;
    init(&world, &["--create-kms-keys"]).finish().done();
    let fresh = World::empty().await;
    let runs: Vec<_> = (0..3).map(|_| init(&fresh, &["--create-kms-keys"])).collect();
    let vaults: Vec<_> = runs.into_iter().map(|run| run.finish().done().json()["vault"].clone()).collect();
    assert!(vaults.iter().all(|vault| *vault == vaults[0]), "{vaults:?}");
    assert_eq!(fresh.count("pii_vault.token_keys").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_anywhere_it_goes_on_where_it_was() {
    let rounds = if soak() { 40 } else { 4 };
    for round in 0..rounds {
        let world = World::empty().await;
        // Deaths spread over the 1.5 s or so that it takes.
        let mut run = init(&world, &["--create-kms-keys"]);
        tokio::time::sleep(std::time::Duration::from_millis(40 + round * 1_200 / rounds)).await;
        run.kill();
        init(&world, &["--create-kms-keys"]).finish().done();
        assert_eq!(world.count("pii_vault.vault").await, 1);
        assert_eq!(world.count("pii_vault.token_keys").await, 1);
        assert_eq!(init(&world, &[]).finish().done().json()["migrations"], Value::Array(vec![]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_user_logins_is_never_touched_unasked() {
    let world = World::empty().await;
    let admin = world.connect(Who::Administrator).await;
    // As the image of the original assignment has it.
    admin
        .batch_execute(
            "CREATE TABLE user_logins (user_id varchar(128), device_type varchar(32), masked_ip varchar(256),
                 masked_device_id varchar(256), locale varchar(32), app_version integer, create_date date);
             INSERT INTO user_logins (user_id) VALUES ('kept');
             CREATE TABLE user_logins_original ()",
        )
        .await
        .expect("a table of another origin");

    let refused = init(&world, &["--create-kms-keys"]).finish().exits(3);
    for column in ["user_id character varying(128)", "app_version integer", "create_date date", "--rename-existing"] {
        assert!(refused.stderr.contains(column), "{}", refused.stderr);
    }
    assert_eq!(world.count("public.user_logins").await, 1);
    assert_eq!(world.count("pg_namespace WHERE nspname = 'pii_vault'").await, 0);

    let renamed = init(&world, &["--create-kms-keys", "--rename-existing"]).finish().done().json();
    assert_eq!(renamed["renamed_to"], "user_logins_original_2");
    assert_eq!(world.count("public.user_logins_original_2 WHERE user_id = 'kept'").await, 1);
    assert_eq!(world.count("public.user_logins").await, 0);
    assert_eq!(init(&world, &["--rename-existing"]).finish().done().json()["renamed_to"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_or_database_that_is_not_fit_is_refused() {
    let world = World::empty().await;
    world.make_login(Who::Nobody).await;
    let sql = format!("CREATE SCHEMA pii_vault AUTHORIZATION nobody_{}", world.id);
    world.sql.batch_execute(&sql).await.expect("somebody was faster");
    let refused = init(&world, &["--create-kms-keys"]).finish().exits(3);
    assert!(refused.stderr.contains("schema pii_vault of nobody_"), "{}", refused.stderr);
    assert_eq!(world.count("pg_class WHERE relnamespace = 'pii_vault'::regnamespace").await, 0);

    world
        .sql
        .batch_execute(&format!("CREATE DATABASE latin_{} ENCODING 'LATIN1' TEMPLATE template0", world.id))
        .await
        .unwrap();
    let url = world.database_url(Who::Administrator).replace("/test_", "/latin_");
    let refused = world.pii_vault_with(Who::Administrator, &["init"], &[("DATABASE_URL", &url)]).finish().exits(1);
    assert!(refused.stderr.contains("encoding is not UTF8"), "{}", refused.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_purpose_has_a_kms_key_of_its_own() {
    let world = World::vault().await;
    world.send([login(1).to_string(), "{".to_owned()]).await;
    world.drain(&["--data-key-lifetime", "2h"]);
    let kms_keys: i64 = one(
        &world,
        "SELECT count(DISTINCT kms_key) FROM (SELECT kms_key FROM pii_vault.token_keys \
         UNION ALL SELECT kms_key FROM pii_vault.data_keys UNION ALL SELECT kms_key FROM pii_vault.dead_letter_keys) AS k",
    )
    .await;
    assert_eq!(kms_keys, 3);
    assert_eq!(world.count("pii_vault.data_keys WHERE max_step = 120").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_kms_keys_are_named_with_the_commands_that_make_them() {
    let world = World::empty().await;
    let failed = init(&world, &[]).finish().exits(1);
    for purpose in ["data", "token", "dead-letter", "signing"] {
        let command = format!("aws kms create-alias --alias-name {}", world.kms_key(purpose));
        assert!(failed.stderr.contains(&command), "{}", failed.stderr);
    }
    assert!(failed.stderr.contains("--key-usage SIGN_VERIFY --key-spec ECC_NIST_P256"));
    assert_eq!(world.count("pg_namespace WHERE nspname = 'pii_vault'").await, 0, "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_lacks_is_told() {
    let world = World::empty().await;
    let unreachable =
        world.pii_vault_with(Who::Administrator, &["init"], &[("DATABASE_URL", "postgres://u:geheim@127.0.0.1:1/d")]);
    let unreachable = unreachable.finish().exits(1);
    assert!(unreachable.stderr.contains("127.0.0.1:1 is out of reach (connection refused)"), "{}", unreachable.stderr);
    assert!(!unreachable.stderr.contains("geheim"));

    let url = world.database_url(Who::Administrator).replace("a%20test", "no%20test");
    let refused = world.pii_vault_with(Who::Administrator, &["init"], &[("DATABASE_URL", &url)]).finish().exits(1);
    assert!(refused.stderr.contains("refused the login (SQLSTATE 28P01)"), "{}", refused.stderr);

    world.make_login(Who::Nobody).await;
    let refused = world.pii_vault(Who::Nobody, &["init", "--create-kms-keys"]).finish().exits(1);
    assert!(
        refused.stderr.contains("permission denied") && refused.stderr.contains("CREATEROLE"),
        "{}",
        refused.stderr
    );

    // Another vault in the same cluster: the roles are there, the schema is not.
    let (initialised, empty) = (World::vault().await, World::empty().await);
    empty.make_login(Who::Ingest).await;
    let refused = empty.pii_vault(Who::Ingest, &["etl", "run"]).finish().exits(1);
    assert!(refused.stderr.contains("there is no vault in this database"), "{}", refused.stderr);
    let refused = initialised.pii_vault(Who::Analyst, &["etl", "run"]).finish().exits(1);
    assert!(refused.stderr.contains("GRANT pii_vault_ingest TO"), "{}", refused.stderr);
}
