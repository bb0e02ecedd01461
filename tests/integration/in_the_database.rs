//! What the definer functions that ingestion calls promise by themselves, with raw SQL.

use std::time::Duration;

use crate::support::{Who, World, login, sqlstate};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_not_retired_under_a_batch_that_holds_it() {
    let world = World::vault().await;
    world.send([login(1).to_string(), "{".to_owned()]).await;
    world.drain(&[]);
    let ingest = world.connect(Who::Ingest).await;
    let id = async |table: &str| -> uuid::Uuid {
        world.sql.query_one(&format!("SELECT id FROM pii_vault.{table}"), &[]).await.unwrap().get(0)
    };
    let (data, letter, token) = (id("data_keys").await, id("dead_letter_keys").await, id("token_keys").await);
    let hold = async |data, letter, token| -> String {
        let sql = "SELECT pii_vault.hold_keys(ARRAY[$1::uuid], ARRAY[$2::uuid], ARRAY[$3::uuid])::text";
        ingest.query_one(sql, &[&data, &letter, &token]).await.unwrap().get(0)
    };

    ingest.batch_execute("BEGIN").await.unwrap();
    assert_eq!(hold(data, letter, token).await, "held");
    for table in ["data_keys", "dead_letter_keys", "token_keys"] {
        let retire = format!("SELECT FROM pii_vault.{table} FOR UPDATE NOWAIT");
        assert_eq!(sqlstate(&world.sql, &retire).await.as_deref(), Some("55P03"), "{table}");
    }
    ingest.batch_execute("COMMIT").await.unwrap();

    let none = uuid::Uuid::nil();
    assert_eq!(hold(none, letter, token).await, "sealing_key_not_active");
    assert_eq!(hold(data, none, token).await, "sealing_key_not_active");
    assert_eq!(hold(data, letter, none).await, "token_keys_changed");
    world.sql.batch_execute("UPDATE pii_vault.dead_letter_keys SET state = 'decrypt-only'").await.unwrap();
    assert_eq!(hold(data, letter, token).await, "sealing_key_not_active");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_that_cannot_be_made_is_no_fault() {
    let world = World::vault().await;
    world.send([login(1).to_string()]).await;
    world.drain(&[]);
    let ensure = async |client: &tokio_postgres::Client, day: &str| -> bool {
        client.query_one(&format!("SELECT pii_vault.ensure_month('{day}')"), &[]).await.unwrap().get(0)
    };
    let ingest = world.connect(Who::Ingest).await;

    // Its rows are in the default partition already.
    world
        .sql
        .batch_execute(
            "CREATE TEMP TABLE copied AS SELECT * FROM pii_vault.login_events;
             UPDATE copied SET create_date = '2024-02-03';
             INSERT INTO pii_vault.login_events SELECT * FROM copied",
        )
        .await
        .unwrap();
    assert!(!ensure(&ingest, "2024-02-29").await);
    assert!(ensure(&ingest, "2024-03-01").await);

    // Another process makes it, and is not done yet.
    world.sql.batch_execute("BEGIN; SELECT pii_vault.ensure_month('2024-04-30')").await.unwrap();
    let (made, ()) = tokio::join!(ensure(&ingest, "2024-04-01"), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.sql.batch_execute("COMMIT").await.unwrap();
    });
    assert!(made);
}
