//! The rule is the database's, and so is the log: what raw SQL of the roles that rotate comes to beside others.

use tokio_postgres::Client;

use crate::support::{Who, World};

async fn text(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

async fn begin_reseal(client: &Client) -> String {
    let job = text(client, "SELECT pii_vault.record_reseal('{}', '0', 'why')::text").await;
    client.batch_execute(&format!("SELECT pii_vault.arm_rotation('{job}', '{job}')")).await.unwrap();
    job
}

/// Runs `held` in a transaction of `first`'s, then `then` of `second`'s, which waits for it; then commits.
async fn meet(first: &Client, held: &str, second: &Client, then: &str) -> String {
    first.batch_execute(&format!("BEGIN; {held}")).await.unwrap();
    let waiting = async {
        let pid: i32 = second.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        (pid, text(second, then).await)
    };
    let commit = async {
        let others = "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))";
        while first.query_one(others, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        first.batch_execute("COMMIT").await.unwrap();
    };
    tokio::join!(waiting, commit).0.1
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_hands_out_no_row_and_takes_none() {
    let world = World::vault().await;
    world.ingest(1, 5);
    let client = world.connect(Who::Reseal).await;
    let job = begin_reseal(&client).await;
    let fetch =
        format!("SELECT count(*)::text FROM pii_vault.fetch_reseal('{job}', NULL, NULL, '2100-01-01', '{job}')");
    assert_eq!(text(&client, &fetch).await, "5");
    client.batch_execute(&format!("SELECT pii_vault.abandon_rotation('{job}', 'why')")).await.unwrap();
    assert_eq!(text(&client, &fetch).await, "0");
    world.ingest_more("later", 1);
    let store = format!(
        "SELECT s.stored::text FROM (
             SELECT array_agg(e.create_date) AS days, array_agg(e.event_id) AS ids, array_agg(e.data_key_id) AS keys,
                 array_agg(e.ip_ciphertext) AS ips, array_agg(e.device_id_ciphertext) AS devices
             FROM pii_vault.login_events AS e JOIN pii_vault.data_keys AS k ON k.id = e.data_key_id
             WHERE k.state = 'decrypt-only'
         ) AS a, LATERAL pii_vault.store_reseal(
             '{job}', (SELECT id FROM pii_vault.data_keys WHERE state = 'active'), a.days, a.ids, a.keys, a.ips, a.devices
         ) AS s"
    );
    // The role may not read rows; the function does not ask who called it, but who logged in.
    world
        .sql
        .batch_execute("GRANT SELECT ON pii_vault.login_events, pii_vault.data_keys TO pii_vault_reseal")
        .await
        .unwrap();
    assert_eq!(text(&client, &store).await, "0");
    assert_eq!(world.rows_under_old_keys().await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_that_is_recorded_as_a_runner_stops_tells_what_the_runner_told() {
    let world = World::vault().await;
    world.ingest(1, 5);
    let (runner, verifier) = (world.connect(Who::Reseal).await, world.connect(Who::Reseal).await);
    let job = begin_reseal(&runner).await;
    world.ingest_more("later", 3);
    let stops = format!(
        "SELECT pii_vault.settle_rotation('{job}', '{job}', 3, '{{}}', '{{}}', '{{}}', '{{}}'); \
         SELECT pii_vault.leave_rotation('{job}', '{job}')"
    );
    let sample = format!("SELECT coalesce(pii_vault.record_sample('{job}', 2)::text, '')");
    let recorded = meet(&runner, &stops, &verifier, &sample).await;
    assert_ne!(recorded, "", "there are rows to open");
    world.pii_vault(Who::Auditor, &["audit", "verify"]).finish().done();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kms_key_does_not_retire_under_a_rotation_that_begins() {
    let world = World::vault().await;
    world.ingest(1, 1);
    let (old, new) = (world.only_kms_key("data_keys").await, world.another_kms_key().await);
    world.kek(&["run", "--purpose", "data", "--to", &new, "--reason", "x"]).finish().done();
    let (rotates, retires) = (world.connect(Who::Rewrap).await, world.connect(Who::Rewrap).await);
    let back = format!("SELECT pii_vault.record_rewrap('data', '{old}', false, 'back')");
    let retire = format!("SELECT outcome::text FROM pii_vault.retire_kms_key('data', '{old}', 'left')");
    assert_eq!(meet(&rotates, &back, &retires, &retire).await, "rotation_unfinished");
    world.pii_vault(Who::Auditor, &["audit", "verify"]).finish().done();
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_of_two_purposes_do_not_meet_under_one_kms_key() {
    let world = World::vault().await;
    world.ingest(1, 1);
    let new = world.another_kms_key().await;
    let client = world.connect(Who::Rewrap).await;
    let record = |purpose: &str| format!("SELECT pii_vault.record_rewrap('{purpose}', '{new}', false, 'x')::text");
    text(&client, &record("data")).await;
    assert!(client.query_one(&record("token"), &[]).await.is_err(), "it is to wrap data keys");
    assert_eq!(text(&client, &record("data")).await.len(), 36, "the same goes on");
}
