//! The rule is the database's: what the role of re-sealing gets, and is refused, with raw SQL.

use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::{Who, World, sqlstate};

const DENIED: &str = "42501";
const RECORD: &str = "SELECT pii_vault.record_reseal('{}', '0', 'why')";

async fn record(client: &Client) -> Option<Uuid> {
    client.query_one(RECORD, &[]).await.unwrap().get(0)
}

fn arm(job: Uuid) -> String {
    format!("SELECT pii_vault.arm_rotation('{job}', '{job}')")
}

fn fetch(job: Uuid) -> String {
    format!("SELECT FROM pii_vault.fetch_reseal('{job}', NULL, NULL, '2100-01-01', '{job}')")
}

async fn rows(client: &Client, job: Uuid) -> Result<usize, String> {
    let rows = client.query(&fetch(job), &[]).await;
    rows.map(|rows| rows.len()).map_err(|error| error.code().unwrap().code().to_owned())
}

/// Stores every row that there is under `key`, with ciphertexts of no use.
fn store(job: Uuid, key: Uuid, rows: &str) -> String {
    format!(
        "SELECT s.hold::text, s.stored FROM (
             SELECT array_agg(create_date) AS days, array_agg(event_id) AS ids, array_agg(data_key_id) AS keys,
                 array_agg(set_byte(ip_ciphertext, 80, 7)) AS ips, array_agg(device_id_ciphertext) AS devices
             FROM {rows}
         ) AS a, LATERAL pii_vault.store_reseal('{job}', '{key}', a.days, a.ids, a.keys, a.ips, a.devices) AS s"
    )
}

fn denied() -> Result<usize, String> {
    Err(DENIED.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_comes_out_before_a_committed_record_and_none_to_others() {
    let world = World::vault().await;
    world.ingest(2, 5);
    let (one, two) = (world.connect(Who::Reseal).await, world.connect(Who::Reseal).await);
    for table in ["login_events", "data_keys", "set_aside_events", "rotation_handouts"] {
        assert_eq!(sqlstate(&one, &format!("SELECT FROM pii_vault.{table}")).await.as_deref(), Some(DENIED), "{table}");
    }
    assert_eq!(rows(&one, Uuid::nil()).await, denied());
    one.batch_execute("BEGIN").await.unwrap();
    let job = record(&one).await.unwrap();
    assert_eq!(sqlstate(&two, &arm(job)).await.as_deref(), Some(DENIED), "another session does not see it");
    assert_eq!(sqlstate(&one, &arm(job)).await.as_deref(), Some(DENIED), "recorded, not committed");
    one.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(world.count("pii_vault.data_keys WHERE state = 'active'").await, 2, "as if it had not been");
    assert_eq!(rows(&one, job).await, denied());

    let job = record(&one).await.unwrap();
    assert_eq!(rows(&one, job).await, denied(), "recorded, not armed");
    one.batch_execute(&format!("BEGIN; {}", arm(job))).await.unwrap();
    assert_eq!(rows(&one, job).await, denied(), "armed, not committed");
    one.batch_execute("ROLLBACK").await.unwrap();
    one.batch_execute(&arm(job)).await.unwrap();
    assert_eq!(rows(&one, job).await, Ok(10));
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        one.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}")).await.unwrap();
        assert_eq!(rows(&one, job).await, Err("25000".to_owned()));
        one.batch_execute("ROLLBACK").await.unwrap();
    }
    // Rows of other keys than the job's are none of its business.
    world.ingest_more("later", 3);
    assert_eq!(rows(&one, job).await, Ok(10));

    for who in [Who::Ingest, Who::Rewrap, Who::Redrive, Who::Officer, Who::Auditor, Who::Lookup] {
        let other = world.connect(who).await;
        for sql in [
            RECORD.to_owned(),
            fetch(job),
            "SELECT pii_vault.retire_data_keys(NULL, 'x')".to_owned(),
            "SELECT pii_vault.count_reseal(NULL)".to_owned(),
            format!("SELECT pii_vault.record_sample('{job}', 1)"),
            format!("SELECT pii_vault.set_aside_reseal('{job}', 'x')"),
        ] {
            assert_eq!(sqlstate(&other, &sql).await.as_deref(), Some(DENIED), "{who:?}: {sql}");
        }
    }
    assert_eq!(
        sqlstate(&one, &format!("SELECT pii_vault.set_aside_reseal('{job}', 'x')")).await.as_deref(),
        Some(DENIED)
    );
    // One at a time.
    assert_eq!(sqlstate(&two, "SELECT pii_vault.record_reseal('{}', '0', 'another')").await.as_deref(), Some("23505"));
    for wrong in ["'{}', NULL, 'x'", "'{00000000-0000-0000-0000-000000000000}', NULL, 'x'", "'{}', '-1 day', 'x'"] {
        let sql = format!("SELECT pii_vault.record_reseal({wrong})");
        assert_eq!(sqlstate(&one, &sql).await.as_deref(), Some("22023"), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_changed_as_it_was_fetched_or_not_at_all() {
    let world = World::vault().await;
    world.ingest(2, 5);
    let one = world.connect(Who::Reseal).await;
    let job = record(&one).await.unwrap();
    one.batch_execute(&arm(job)).await.unwrap();
    let before = "CREATE TABLE public.fetched AS SELECT * FROM pii_vault.login_events; GRANT SELECT ON public.fetched TO PUBLIC;
        INSERT INTO pii_vault.data_keys (id, wrapped_key, kms_key, commitment, max_step)
        SELECT '11111111-1111-1111-1111-111111111111', wrapped_key, kms_key, commitment, 9 FROM pii_vault.data_keys LIMIT 1";
    world.sql.batch_execute(before).await.unwrap();
    let (new, old): (Uuid, Uuid) = (
        "11111111-1111-1111-1111-111111111111".parse().unwrap(),
        world
            .sql
            .query_one("SELECT min(data_key_id::text)::uuid FROM pii_vault.login_events", &[])
            .await
            .unwrap()
            .get(0),
    );
    // Deleted, and changed by another runner, between fetching and storing.
    let others =
        "DELETE FROM pii_vault.login_events WHERE event_id = (SELECT min(event_id::text)::uuid FROM public.fetched);
        UPDATE pii_vault.login_events SET data_key_id = gen_random_uuid()
        WHERE event_id = (SELECT max(event_id::text)::uuid FROM public.fetched)";
    world.sql.batch_execute(others).await.unwrap();

    let held = async |key| {
        let row = one.query_one(&store(job, key, "public.fetched"), &[]).await.unwrap();
        (row.get::<_, String>(0), row.get::<_, i64>(1))
    };
    assert_eq!(held(Uuid::nil()).await, ("sealing_key_not_active".to_owned(), 0), "an unknown key");
    assert_eq!(held(old).await, ("sealing_key_not_active".to_owned(), 0), "one that is to be left");
    let changed = "pii_vault.login_events AS e JOIN public.fetched AS f USING (event_id) WHERE e.ip_ciphertext <> f.ip_ciphertext";
    assert_eq!(world.count(changed).await, 0);
    assert_eq!(held(new).await, ("held".to_owned(), 8));
    assert_eq!(held(new).await, ("held".to_owned(), 0), "a second time there is nothing");
    let condition = format!("pii_vault.login_events WHERE data_key_id = '{new}'");
    assert_eq!((world.count(&condition).await, world.count("pii_vault.login_events").await), (8, 9));
    // A row under a key that the job does not leave is not its to change.
    let sql = store(
        job,
        new,
        "(SELECT create_date, event_id, ip_ciphertext, device_id_ciphertext, gen_random_uuid() AS data_key_id FROM public.fetched) AS f",
    );
    assert_eq!(sqlstate(&one, &sql).await.as_deref(), Some("22023"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_a_batch_in_flight_is_neither_left_nor_retired_under_it() {
    let world = World::vault().await;
    world.ingest(1, 5);
    let key: Uuid = world.sql.query_one("SELECT id FROM pii_vault.data_keys", &[]).await.unwrap().get(0);
    let (one, ingest) = (world.connect(Who::Reseal).await, world.connect(Who::Ingest).await);
    let hold = format!("SELECT pii_vault.hold_keys('{{{key}}}', '{{}}', '{{}}')::text");
    ingest.batch_execute("BEGIN").await.unwrap();
    assert_eq!(ingest.query_one(&hold, &[]).await.unwrap().get::<_, String>(0), "held");
    let retire = format!("SELECT state::text FROM pii_vault.retire_data_keys('{{{key}}}', 'x')");
    assert_eq!(
        sqlstate(&one, RECORD).await.as_deref(),
        Some("40001"),
        "it waits for five seconds, and can be tried again"
    );
    assert_eq!(one.query_one(&retire, &[]).await.unwrap().get::<_, String>(0), "active", "in use: it stays, at once");
    ingest.batch_execute("COMMIT").await.unwrap();
    let job = record(&one).await.unwrap();
    assert_eq!(ingest.query_one(&hold, &[]).await.unwrap().get::<_, String>(0), "sealing_key_not_active");
    assert_eq!(one.query_one(&retire, &[]).await.unwrap().get::<_, String>(0), "decrypt-only", "rows name it");
    assert_eq!(world.log("key_rotation").await.len(), 1);
    // An unmask that fetched before the retirement has its key already; the rows go first in any case.
    world.sql.batch_execute("DELETE FROM pii_vault.login_events").await.unwrap();
    assert_eq!(one.query_one(&retire, &[]).await.unwrap().get::<_, String>(0), "retired");
    assert_eq!(world.log("key_rotation").await[1]["details"]["keys"], serde_json::json!([key.to_string()]));
    assert_eq!(
        sqlstate(&one, &format!("SELECT pii_vault.record_reseal('{{{key}}}', NULL, 'x')")).await.as_deref(),
        Some("22023")
    );
    one.batch_execute(&arm(job)).await.unwrap();
    assert_eq!(rows(&one, job).await, Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_is_recorded_before_it_is_handed_out_and_holds_no_other_rows() {
    let world = World::vault().await;
    world.ingest(1, 30);
    let report = world.data_key(&["run", "--max-age", "0", "--reason", "x"]).done().json();
    let one = world.connect(Who::Reseal).await;
    let record = format!("SELECT pii_vault.record_sample('{}', 4)", report["job"].as_str().unwrap());
    let fetch = |sample: Uuid| format!("SELECT FROM pii_vault.fetch_sample('{sample}')");
    let arm = |sample: Uuid| format!("SELECT pii_vault.arm_handout('{sample}')");
    one.batch_execute("BEGIN").await.unwrap();
    let gone: Uuid = one.query_one(&record, &[]).await.unwrap().get(0);
    assert_eq!(sqlstate(&one, &arm(gone)).await.as_deref(), Some(DENIED));
    one.batch_execute("ROLLBACK").await.unwrap();
    let sample: Uuid = one.query_one(&record, &[]).await.unwrap().get(0);
    assert_eq!(sqlstate(&one, &fetch(sample)).await.as_deref(), Some(DENIED), "not armed");
    one.batch_execute(&format!("BEGIN; {}", arm(sample))).await.unwrap();
    assert_eq!(sqlstate(&one, &fetch(sample)).await.as_deref(), Some(DENIED), "armed, not committed");
    one.batch_execute("ROLLBACK").await.unwrap();
    one.batch_execute(&arm(sample)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(one.query(&fetch(sample), &[]).await.unwrap().len(), 4, "the same ones, as often as asked for");
    }
    let other = format!("GRANT pii_vault_reseal TO nobody_{}", world.id);
    world.make_login(Who::Nobody).await;
    world.sql.batch_execute(&other).await.unwrap();
    let nobody = world.connect(Who::Nobody).await;
    nobody.batch_execute("SET ROLE pii_vault_reseal").await.unwrap();
    assert_eq!(sqlstate(&nobody, &fetch(sample)).await.as_deref(), Some(DENIED), "another's");
    world
        .sql
        .batch_execute("UPDATE pii_vault.rotation_handouts SET recorded_at = recorded_at - interval '11 minutes'")
        .await
        .unwrap();
    assert_eq!(sqlstate(&one, &fetch(sample)).await.as_deref(), Some(DENIED), "stale");
    // A token that is not its value's, and a row that was altered since.
    let tamper = "UPDATE pii_vault.login_events SET ip_token_a = repeat('x', 43) WHERE event_id = (SELECT min(event_id::text)::uuid FROM pii_vault.login_events);
        UPDATE pii_vault.login_events SET user_id = 'another' WHERE event_id = (SELECT max(event_id::text)::uuid FROM pii_vault.login_events)";
    world.sql.batch_execute(tamper).await.unwrap();
    let verified = world.data_key(&["verify"]).exits(4).json();
    let mut why: Vec<_> =
        verified["wrong"].as_array().unwrap().iter().map(|row| row["why"].as_str().unwrap()).collect();
    why.sort_unstable();
    assert_eq!((why, &verified["opened"]), (vec!["not_authentic", "token_mismatch"], &serde_json::json!(28)));
}
