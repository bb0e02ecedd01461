//! Ingestion writes and reads nothing back: what its database role is refused, with raw SQL.

use crate::support::{Who, World, login, sqlstate};

const DENIED: Option<&str> = Some("42501");

#[tokio::test(flavor = "multi_thread")]
async fn ingestion_reads_back_nothing_but_wrapped_token_keys() {
    let world = World::vault().await;
    world.send([login(1).to_string(), "{".to_owned()]).await;
    world.drain(&[]);
    let ingest = world.connect(Who::Ingest).await;
    for table in ["login_events", "login_events_default", "dead_letters", "data_keys", "dead_letter_keys"] {
        for sql in ["SELECT FROM pii_vault.{}", "SELECT count(*) FROM pii_vault.{}", "DELETE FROM pii_vault.{}"] {
            let sql = sql.replace("{}", table);
            assert_eq!(sqlstate(&ingest, &sql).await.as_deref(), DENIED, "{sql}");
        }
    }
    for sql in [
        "UPDATE pii_vault.login_events SET user_id = 'x'",
        "INSERT INTO pii_vault.login_events SELECT * FROM pii_vault.login_events",
        "INSERT INTO pii_vault.dead_letters DEFAULT VALUES RETURNING body_ciphertext",
        "INSERT INTO pii_vault.data_keys (id, state, wrapped_key, kms_key, commitment, max_step) \
         VALUES (gen_random_uuid(), 'retired', '', '', '', 0)",
        "INSERT INTO pii_vault.token_keys DEFAULT VALUES",
        "INSERT INTO pii_vault.vault (id) VALUES (gen_random_uuid())",
        "UPDATE pii_vault.token_keys SET state = 'retired'",
        "SELECT id FROM pii_vault.token_keys FOR UPDATE",
        "SELECT * FROM public.user_logins",
        "TRUNCATE pii_vault.login_events",
        "CREATE TABLE pii_vault.mine ()",
        "SET ROLE pii_vault_owner",
    ] {
        assert_eq!(sqlstate(&ingest, sql).await.as_deref(), DENIED, "{sql}");
    }
    for sql in ["SELECT id FROM pii_vault.vault", "SELECT wrapped_key FROM pii_vault.token_keys"] {
        assert_eq!(sqlstate(&ingest, sql).await, None, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analyst_has_the_view_and_nothing_else() {
    let world = World::vault().await;
    let analyst = world.connect(Who::Analyst).await;
    assert_eq!(sqlstate(&analyst, "SELECT * FROM user_logins").await, None);
    for sql in [
        "SELECT FROM pii_vault.login_events",
        "SELECT FROM pii_vault.token_keys",
        "SELECT FROM pii_vault.vault",
        "SELECT pii_vault.ensure_month('2026-01-01')",
        "DELETE FROM user_logins",
        "UPDATE user_logins SET locale = 'XX'",
        "INSERT INTO user_logins (user_id) VALUES ('x')",
    ] {
        assert_eq!(sqlstate(&analyst, sql).await.as_deref(), DENIED, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_refuses_nonsense_by_itself() {
    let world = World::vault().await;
    world.send([login(1).to_string(), "{".to_owned()]).await;
    world.drain(&[]);
    for (sql, code) in [
        ("UPDATE pii_vault.login_events SET user_id = ''", "23514"),
        ("UPDATE pii_vault.login_events SET device_type = NULL", "23502"),
        ("UPDATE pii_vault.login_events SET ip_ciphertext = ip_ciphertext || '\\x00'", "23514"),
        ("UPDATE pii_vault.login_events SET device_id_ciphertext = '\\x00'", "23514"),
        ("UPDATE pii_vault.login_events SET ip_token_a = 'short'", "23514"),
        ("UPDATE pii_vault.login_events SET ip_token_a = NULL", "23514"),
        ("UPDATE pii_vault.login_events SET token_key_b = gen_random_uuid()", "23514"),
        ("UPDATE pii_vault.login_events SET ip_token_a = NULL, device_id_token_a = NULL, token_key_a = NULL", "23514"),
        ("UPDATE pii_vault.dead_letters SET reason = 'mood'", "22P02"),
        ("UPDATE pii_vault.dead_letters SET size = size + 1", "23514"),
        ("UPDATE pii_vault.data_keys SET commitment = '\\x00'", "23514"),
        ("UPDATE pii_vault.data_keys SET wrapped_key = '\\x00'", "23514"),
        ("UPDATE pii_vault.data_keys SET max_step = 10081", "23514"),
        ("UPDATE pii_vault.data_keys SET state = 'pending'", "23514"),
        ("INSERT INTO pii_vault.vault (id) VALUES (gen_random_uuid())", "23505"),
        (
            "INSERT INTO pii_vault.token_keys (id, slot, state, wrapped_key, kms_key, commitment) \
             SELECT gen_random_uuid(), 'b', 'active', wrapped_key, kms_key, commitment FROM pii_vault.token_keys",
            "23505",
        ),
    ] {
        assert_eq!(sqlstate(&world.sql, sql).await.as_deref(), Some(code), "{sql}");
    }
}
