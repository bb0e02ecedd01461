//! Ingestion writes and reads nothing back: ways around that its database role is refused, with raw SQL. What every role
//! is refused plainly is in `database_rights`.

use crate::support::{Who, World, login, sqlstate};

const DENIED: Option<&str> = Some("42501");

#[tokio::test(flavor = "multi_thread")]
async fn ingestion_reads_back_nothing_but_wrapped_token_keys() {
    let world = World::vault().await;
    world.send([login(1).to_string(), "{".to_owned()]).await;
    world.drain(&[]);
    let ingest = world.connect(Who::Ingest).await;
    for sql in [
        "INSERT INTO pii_vault.login_events SELECT * FROM pii_vault.login_events",
        "INSERT INTO pii_vault.dead_letters DEFAULT VALUES RETURNING body_ciphertext",
        "INSERT INTO pii_vault.data_keys (id, state, wrapped_key, kms_key, commitment, max_step) \
         VALUES (gen_random_uuid(), 'retired', '', '', '', 0)",
        "SELECT id FROM pii_vault.token_keys FOR UPDATE",
    ] {
        assert_eq!(sqlstate(&ingest, sql).await.as_deref(), DENIED, "{sql}");
    }
    for sql in ["SELECT id FROM pii_vault.vault", "SELECT wrapped_key FROM pii_vault.token_keys"] {
        assert_eq!(sqlstate(&ingest, sql).await, None, "{sql}");
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
        ("UPDATE pii_vault.data_keys SET state = 'retired'", "23514"),
        ("UPDATE pii_vault.data_keys SET id = gen_random_uuid()", "23514"),
        ("UPDATE pii_vault.token_keys SET state = 'retired'", "23514"),
        ("INSERT INTO pii_vault.vault (id) VALUES (gen_random_uuid())", "23505"),
        (
            "INSERT INTO pii_vault.token_keys (id, slot, state, wrapped_key, kms_key, commitment) \
             SELECT gen_random_uuid(), 'b', 'active', wrapped_key, kms_key, commitment FROM pii_vault.token_keys",
            "23P01",
        ),
    ] {
        assert_eq!(sqlstate(&world.sql, sql).await.as_deref(), Some(code), "{sql}");
    }
}
