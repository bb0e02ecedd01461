//! `doctor` finds what is wrong, each thing provoked once; but not what is wrong with the roles of the whole cluster, which
//! other tests use at the same time.

use serde_json::Value;

use crate::support::{Finished, Who, World};

/// A vault that none of the other tests' logins can connect to, as roles belong to the whole cluster.
pub(crate) async fn lone_vault() -> World {
    let world = World::vault().await;
    world.policy_set(&[]);
    let database = format!("test_{}", world.id);
    let sql = format!(
        "REVOKE CONNECT ON DATABASE {database} FROM PUBLIC;
         GRANT CONNECT ON DATABASE {database} TO administrator, ingest_{}",
        world.id
    );
    world.sql.batch_execute(&sql).await.unwrap();
    world
}

pub(crate) fn doctor(world: &World) -> Finished {
    world.pii_vault(Who::Administrator, &["doctor", "--output", "json"]).finish()
}

#[track_caller]
fn find(finished: &Finished, check: &str) -> Value {
    let findings = finished.json();
    findings.as_array().unwrap().iter().find(|finding| finding["check"] == check).expect(check).clone()
}

#[track_caller]
pub(crate) fn assert_found(finished: &Finished, check: &str, status: &str, detail: &str) {
    let finding = find(finished, check);
    assert_eq!(finding["status"], status, "{finding}");
    assert!(finding["detail"].as_str().unwrap().contains(detail), "{finding}");
    assert_eq!(finding["advice"].is_string(), status != "ok", "{finding}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_vault_is_all_ok() {
    let world = lone_vault().await;
    world.send_logins(20).await;
    world.send(["{"]).await;
    world.drain(&[]);
    // The queues of tests have no dead-letter queue, which a healthy one has.
    assert_found(&doctor(&world).exits(0), "queue", "warn", "no dead-letter queue");
    let healthy =
        world.pii_vault(Who::Administrator, &["doctor", "--output", "json", "--queue-url", ""]).finish().done();
    let findings = healthy.json();
    let findings = findings.as_array().unwrap();
    assert!(findings.len() >= 30, "{}", findings.len());
    assert!(findings.iter().all(|finding| finding["status"] == "ok"), "{findings:#?}");
    assert_found(&healthy, "dead-letters", "ok", "invalid_json 1");
    assert_found(&healthy, "administrators", "ok", "administrator");
    let human = world.pii_vault(Who::Administrator, &["doctor", "--queue-url", ""]).finish().done();
    assert!(human.stdout.ends_with(&format!("0 fail, 0 warn, {} ok\n", findings.len())), "{}", human.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_a_vault_is_found() {
    let world = lone_vault().await;
    world.allow_raw_events().await;
    let database = format!("test_{}", world.id);
    let month = "login_events_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')";
    let detach =
        format!("DO $$ BEGIN EXECUTE 'ALTER TABLE pii_vault.login_events DETACH PARTITION pii_vault.{month}; END $$");
    let lossy = format!("ALTER DATABASE {database} SET synchronous_commit = off");
    let durable = format!("ALTER DATABASE {database} RESET synchronous_commit");
    let keys = "INSERT INTO pii_vault.data_keys (id, wrapped_key, kms_key, commitment, max_step, created_at)
                SELECT gen_random_uuid(), repeat('x', 33)::bytea, 'k', repeat('x', 32)::bytea, 1, now() - interval '91 days'";
    let letters = "INSERT INTO pii_vault.dead_letters (create_date, message_id, reason, size, body_ciphertext, dead_letter_key_id)
                   SELECT '2026-01-01', gen_random_uuid(), 'empty', 0, repeat('x', 33)::bytea, gen_random_uuid()
                   FROM generate_series(1, 101)";
    for (sql, check, status, detail, exit, undo) in [
        (
            "GRANT EXECUTE ON FUNCTION pii_vault.ensure_month TO PUBLIC",
            "public-functions",
            "fail",
            "ensure_month()",
            1,
            "REVOKE EXECUTE ON FUNCTION pii_vault.ensure_month FROM PUBLIC",
        ),
        (
            "GRANT SELECT (reason) ON pii_vault.dead_letters TO pii_vault_ingest",
            "ingest-reads-nothing",
            "fail",
            "pii_vault_ingest can read dead_letters",
            1,
            "REVOKE SELECT (reason) ON pii_vault.dead_letters FROM pii_vault_ingest",
        ),
        (
            "GRANT SELECT ON pii_vault.login_events_default TO pii_vault_analyst",
            "grants",
            "fail",
            "SELECT on login_events_default to pii_vault_analyst",
            1,
            "REVOKE SELECT ON pii_vault.login_events_default FROM pii_vault_analyst",
        ),
        (
            "GRANT SELECT (id, wrapped_key) ON pii_vault.data_keys TO PUBLIC",
            "grants",
            "fail",
            "SELECT (id, wrapped_key) on data_keys to PUBLIC",
            1,
            "REVOKE SELECT (id, wrapped_key) ON pii_vault.data_keys FROM PUBLIC",
        ),
        (
            "GRANT SELECT ON public.user_logins TO pii_vault_notary",
            "grants",
            "warn",
            "SELECT on user_logins to pii_vault_notary",
            0,
            "REVOKE SELECT ON public.user_logins FROM pii_vault_notary",
        ),
        (
            "REVOKE EXECUTE ON FUNCTION pii_vault.hold_keys FROM pii_vault_ingest",
            "grants",
            "fail",
            "gone: EXECUTE on hold_keys() to pii_vault_ingest",
            1,
            "GRANT EXECUTE ON FUNCTION pii_vault.hold_keys TO pii_vault_ingest",
        ),
        (
            "ALTER FUNCTION pii_vault.hold_keys RESET search_path",
            "function-paths",
            "fail",
            "hold_keys()",
            1,
            "ALTER FUNCTION pii_vault.hold_keys SET search_path = pii_vault, pg_temp",
        ),
        (
            "ALTER TABLE pii_vault.vault OWNER TO postgres; GRANT ALL ON pii_vault.vault TO pii_vault_owner",
            "ownership",
            "fail",
            "vault belongs to postgres",
            1,
            "ALTER TABLE pii_vault.vault OWNER TO pii_vault_owner",
        ),
        (
            "INSERT INTO pii_vault.__diesel_schema_migrations VALUES ('29991231000001')",
            "schema-version",
            "fail",
            "does not know: 29991231000001",
            1,
            "DELETE FROM pii_vault.__diesel_schema_migrations WHERE version = '29991231000001'",
        ),
        (
            "DELETE FROM pii_vault.__diesel_schema_migrations WHERE version = '20261122000021'",
            "schema-version",
            "fail",
            "not applied: 20261122000021",
            1,
            "INSERT INTO pii_vault.__diesel_schema_migrations VALUES ('20261122000021')",
        ),
        (
            "CREATE TEMPORARY TABLE kept AS SELECT * FROM pii_vault.vault; DELETE FROM pii_vault.vault",
            "vault",
            "fail",
            "no id",
            1,
            "INSERT INTO pii_vault.vault SELECT * FROM kept",
        ),
        (
            "UPDATE pii_vault.token_keys SET state = 'pending'",
            "token-key",
            "fail",
            "0 are active",
            1,
            "UPDATE pii_vault.token_keys SET state = 'active'",
        ),
        (
            "SET session_replication_role = replica;
             UPDATE pii_vault.token_keys SET created_at = now() - interval '366 days'",
            "token-key",
            "warn",
            "366 days old",
            0,
            "UPDATE pii_vault.token_keys SET created_at = now(); RESET session_replication_role",
        ),
        (keys, "sealing-keys", "warn", "1 of 1 data keys", 0, "DELETE FROM pii_vault.data_keys"),
        (&lossy, "durability", "warn", "synchronous_commit", 0, &durable),
        (&detach, "month-partitions", "warn", "20", 0, ""),
        (letters, "dead-letters", "warn", "101: empty 101", 4, "DELETE FROM pii_vault.dead_letters"),
        ("SELECT public.add_events('2016-05-31', 7)", "keys-of-rows", "fail", "7 events name a data key, 7", 4, ""),
        ("", "default-partition", "warn", "7 rows of 2016-05", 4, ""),
        ("DELETE FROM pii_vault.access_policy", "access-policy", "warn", "none is set", 4, ""),
    ] {
        world.sql.batch_execute(sql).await.unwrap();
        let found = doctor(&world).exits(exit);
        assert_found(&found, check, status, detail);
        world.sql.batch_execute(undo).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_login_may_ingest_and_read_through_whatever_roles() {
    let world = lone_vault().await;
    let (id, other) = (&world.id, World::empty().await);
    let sql = format!(
        "CREATE ROLE direct_{id} LOGIN; GRANT pii_vault_ingest, pii_vault_unmask TO direct_{id};
         CREATE ROLE middle_{id} NOINHERIT; GRANT pii_vault_analyst TO middle_{id};
         CREATE ROLE nested_{id} LOGIN NOINHERIT; GRANT pii_vault_ingest, middle_{id} TO nested_{id};
         CREATE ROLE finder_{id} LOGIN; GRANT pii_vault_lookup, pii_vault_unmask TO finder_{id};
         CREATE ROLE alone_{id} LOGIN; GRANT pii_vault_unmask, pii_vault_approver TO alone_{id};
         CREATE ROLE elsewhere_{id} LOGIN; GRANT pii_vault_ingest, pii_vault_analyst TO elsewhere_{id};
         GRANT CONNECT ON DATABASE test_{id} TO direct_{id}, nested_{id}, finder_{id}, alone_{id};
         GRANT CONNECT ON DATABASE test_{} TO elsewhere_{id}",
        other.id
    );
    world.sql.batch_execute(&sql).await.unwrap();
    let found = doctor(&world).exits(1);
    for (login, one, other) in
        [("direct", "ingest", "unmask"), ("nested", "ingest", "analyst"), ("finder", "lookup", "unmask")]
    {
        let detail = format!("{login}_{id} holds pii_vault_{one} and pii_vault_{other}");
        assert_found(&found, "ingest-and-read", "fail", &detail);
    }
    let both = format!("alone_{id} holds pii_vault_unmask and pii_vault_approver");
    assert_found(&found, "unmask-and-approve", "warn", &both);
    assert!(!found.stdout.contains("elsewhere"), "who cannot connect holds nothing here: {}", found.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_blocks_is_named() {
    let world = lone_vault().await;
    let blocker = world.connect(Who::Administrator).await;
    blocker
        .batch_execute("SET ROLE pii_vault_owner; BEGIN; LOCK TABLE pii_vault.login_events_default IN SHARE MODE")
        .await
        .unwrap();
    let found = doctor(&world).exits(1);
    assert_found(&found, "blockers", "fail", "(administrator) has held ShareLock on login_events_default for ");
    let pid: i32 = blocker.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    assert!(find(&found, "blockers")["advice"].as_str().unwrap().contains(&format!("pg_terminate_backend({pid})")));

    // One that keeps doctor itself out leaves the other checks alone.
    blocker.batch_execute("LOCK TABLE pii_vault.login_events IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let found = doctor(&world).exits(1);
    assert_found(&found, "blockers", "fail", "AccessExclusiveLock on login_events");
    assert_found(&found, "default-partition", "warn", "not checked");
    assert_found(&found, "token-key", "ok", "one is active");
    blocker.batch_execute("ROLLBACK").await.unwrap();

    // A reader whose age this login may not see.
    world.sql.batch_execute("BEGIN; SELECT count(*) FROM user_logins").await.unwrap();
    assert_found(&doctor(&world).exits(0), "blockers", "warn", "has held AccessShareLock on login_events");
}

#[tokio::test(flavor = "multi_thread")]
async fn kms_keys_are_looked_at() {
    let world = lone_vault().await;
    let kms = aws_sdk_kms::Client::new(&world.kms_config().await);
    let data_key = kms.describe_key().key_id(world.kms_key("data")).send().await.unwrap().key_metadata.unwrap().key_id;
    kms.disable_key().key_id(&data_key).send().await.unwrap();
    assert_found(&doctor(&world).exits(1), "kms-key", "fail", "is Disabled");
    kms.enable_key().key_id(&data_key).send().await.unwrap();
    for (name, detail) in [("alias/nothing-there", "does not exist"), (&world.kms_key("signing"), "another usage")] {
        let env = [("PII_VAULT_DATA_KMS_KEY", name)];
        let found = world.pii_vault_with(Who::Administrator, &["doctor", "--output", "json"], &env).finish().exits(1);
        assert_found(&found, "kms-key", "fail", detail);
    }
    let env = [("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1")];
    let found = world.pii_vault_with(Who::Administrator, &["doctor", "--output", "json"], &env).finish().exits(0);
    assert_found(&found, "kms-key", "warn", "was not checked");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_less_or_more_than_it_needs_it_says_so() {
    let world = lone_vault().await;
    world.make_login(Who::Nobody).await;
    world.sql.batch_execute(&format!("GRANT CONNECT ON DATABASE test_{0} TO nobody_{0}", world.id)).await.unwrap();
    let found = world.pii_vault(Who::Nobody, &["doctor", "--output", "json"]).finish().exits(0);
    assert_found(&found, "connection", "warn", "no member of pii_vault_owner");
    assert_found(&found, "default-partition", "warn", "not checked");
    assert_found(&found, "schema-version", "warn", "not checked");
    assert_found(&found, "public-functions", "ok", "no function");
    assert_found(&found, "month-partitions", "ok", "are there");

    // A superuser can try what others can only read.
    let env = [("DATABASE_URL", world.superuser_url())];
    let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
    let found = world.pii_vault_with(Who::Administrator, &["doctor", "--output", "json"], &env).finish();
    assert_found(&found, "login", "warn", "postgres is a superuser");
    assert_found(&found, "ingest-reads-nothing", "ok", "tried as pii_vault_ingest");

    let env = [("DATABASE_URL", "postgres://u@127.0.0.1:1/d")];
    let found = world.pii_vault_with(Who::Administrator, &["doctor", "--output", "json"], &env).finish().exits(1);
    assert_found(&found, "connection", "fail", "out of reach");
    assert_found(&found, "kms-key", "ok", "is enabled");
    let empty = World::empty().await;
    assert_found(&doctor(&empty).exits(1), "connection", "fail", "there is no vault in this database");
}
