//! Partitions by month: made before their first row, ahead, by many at once, and what holds that up.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pii_vault::aws::{AwsError, Deletion, Message, Queue, ReceiptHandle};
use time::macros::datetime;
use time::{Date, OffsetDateTime};
use zeroize::Zeroizing;

use crate::support::{Who, World, login};

/// Messages that were sent at given times.
struct SentAt(Mutex<Vec<OffsetDateTime>>);

impl Queue for SentAt {
    fn visibility_timeout(&self) -> Duration {
        Duration::from_secs(30)
    }

    async fn hide(&self, _: Vec<ReceiptHandle>, _: Duration) -> Result<usize, AwsError> {
        Ok(0)
    }

    async fn receive(&self, max: usize, _: Duration) -> Result<Vec<Message>, AwsError> {
        let mut times = self.0.lock().unwrap();
        let count = times.len().min(max);
        let message = |time: OffsetDateTime| Message {
            id: uuid::Uuid::new_v4().to_string(),
            sent_timestamp: (time.unix_timestamp_nanos() / 1_000_000).to_string(),
            receipt: ReceiptHandle(String::new()),
            body: Zeroizing::new(login(1).to_string()),
        };
        Ok(times.drain(..count).map(message).collect())
    }

    async fn delete(&self, _: Vec<ReceiptHandle>) -> Result<Deletion, AwsError> {
        Ok(Deletion::default())
    }
}

async fn ingest(world: &World, times: &[OffsetDateTime]) -> u64 {
    let (result, summary) = world.drain_in_process(SentAt(Mutex::new(times.to_vec())), world.kms().await).await;
    result.unwrap();
    summary.stored
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_millisecond_of_a_month_is_in_it_and_the_next_is_not() {
    let world = World::vault().await;
    let last = [
        datetime!(2023-02-28 23:59:59.999 UTC),
        datetime!(2024-02-29 23:59:59.999 UTC),
        datetime!(2024-12-31 23:59:59.999 UTC),
        datetime!(2025-04-30 23:59:59.999 UTC),
    ];
    let times: Vec<_> = last.into_iter().flat_map(|time| [time, time + Duration::from_millis(1)]).collect();
    assert_eq!(ingest(&world, &times).await, 8);
    let expected = "2023_02: 1, 2023_03: 1, 2024_02: 1, 2024_03: 1, 2024_12: 1, 2025_01: 1, 2025_04: 1, 2025_05: 1";
    assert_eq!(world.rows_by_partition().await, expected);
    assert_eq!(world.odd_partitions().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_week_of_a_month_makes_the_next_one() {
    let world = World::vault().await;
    ingest(&world, &[datetime!(2021-04-23 23:59:59 UTC)]).await;
    assert_eq!(world.count("pg_class WHERE relname = 'login_events_2021_05'").await, 0);
    ingest(&world, &[datetime!(2021-04-24 00:00:00 UTC)]).await;
    assert_eq!(world.count("pg_class WHERE relname = 'login_events_2021_05'").await, 1);
    // And `init` made this month and the next.
    let ahead =
        "SELECT count(*) FROM generate_series(0, 1) AS n WHERE to_regclass('pii_vault.login_events_' || to_char(
                     date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month', 'YYYY_MM')) IS NOT NULL";
    assert_eq!(world.sql.query_one(ahead, &[]).await.unwrap().get::<_, i64>(0), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_first_rows_at_once_make_one_partition() {
    let world = World::vault().await;
    world.allow_raw_events().await;
    let barrier = Arc::new(tokio::sync::Barrier::new(8));
    let mut sessions = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (session, barrier) = (world.connect(Who::Ingest).await, barrier.clone());
        sessions.spawn(async move {
            for month in ["2020-12-31", "2021-01-01", "2020-02-29"] {
                barrier.wait().await;
                let made = session.query_one("SELECT pii_vault.ensure_month($1::text::date)", &[&month]).await;
                assert!(made.unwrap().get::<_, bool>(0), "{month}");
                crate::support::add_raw_events(&session, month, 5).await;
            }
        });
    }
    while let Some(ended) = sessions.join_next().await {
        ended.unwrap();
    }
    assert_eq!(world.rows_by_partition().await, "2020_02: 40, 2020_12: 40, 2021_01: 40");
}

#[tokio::test(flavor = "multi_thread")]
async fn ingestion_cannot_make_partitions_without_end() {
    let world = World::vault().await;
    let session = world.connect(Who::Ingest).await;
    let sql = "SELECT pii_vault.ensure_month((date_trunc('month', now() AT TIME ZONE 'UTC') + $1::integer * interval '1 month')::date)";
    for (month, made) in [(-121, false), (-120, true), (2, true), (3, false), (12, false), (-12_000, false)] {
        assert_eq!(session.query_one(sql, &[&month]).await.unwrap().get::<_, bool>(0), made, "{month}");
    }
    for day in ["infinity", "-infinity", "0044-03-15 BC", "9999-12-31", "10000-01-01"] {
        let made = session.query_one("SELECT pii_vault.ensure_month($1::text::date)", &[&day]).await.unwrap();
        assert!(!made.get::<_, bool>(0), "{day}");
    }
    // A table of that name that is no partition takes no rows.
    world.sql.batch_execute("CREATE TABLE pii_vault.login_events_2020_06 ()").await.unwrap();
    let made = session.query_one("SELECT pii_vault.ensure_month('2020-06-01')", &[]).await.unwrap();
    assert!(!made.get::<_, bool>(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_reader_costs_a_partition_and_no_row() {
    let world = World::vault().await;
    world.allow_raw_events().await;
    let analyst = world.connect(Who::Analyst).await;
    analyst.batch_execute("BEGIN; SELECT count(*) FROM user_logins").await.unwrap();
    let started = Instant::now();
    assert_eq!(ingest(&world, &[datetime!(2022-08-31 12:00:00 UTC), datetime!(2022-08-31 13:00:00 UTC)]).await, 2);
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert_eq!(world.rows_by_partition().await, "default: 2");
    analyst.batch_execute("COMMIT").await.unwrap();

    // Its rows keep a month in the default partition, and nobody waits for a lock to learn that.
    let reader = world.connect(Who::Analyst).await;
    reader.batch_execute("BEGIN; SELECT count(*) FROM user_logins").await.unwrap();
    let (started, session) = (Instant::now(), world.connect(Who::Ingest).await);
    let made = session.query_one("SELECT pii_vault.ensure_month('2022-08-31')", &[]).await.unwrap();
    assert!(!made.get::<_, bool>(0));
    assert!(started.elapsed() < Duration::from_millis(400), "{:?}", started.elapsed());
}

/// The row waits for the default partition, and when it gets there its month has a partition of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_comes_while_a_row_is_on_its_way_does_not_end_the_run() {
    let world = World::vault().await;
    let other = world.connect(Who::Administrator).await;
    other
        .batch_execute(
            "SET ROLE pii_vault_owner; BEGIN;
             LOCK TABLE ONLY pii_vault.login_events IN SHARE UPDATE EXCLUSIVE MODE;
             LOCK TABLE pii_vault.login_events_default IN ACCESS EXCLUSIVE MODE;
             CREATE TABLE pii_vault.login_events_2022_05 (LIKE pii_vault.login_events INCLUDING ALL);
             ALTER TABLE pii_vault.login_events ATTACH PARTITION pii_vault.login_events_2022_05
                 FOR VALUES FROM ('2022-05-01') TO ('2022-06-01')",
        )
        .await
        .unwrap();
    let waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND mode = 'RowExclusiveLock'
                     AND relation = 'pii_vault.login_events_default'::regclass)";
    let time = [datetime!(2022-05-05 00:00:00 UTC)];
    let commit = async {
        while !world.sql.query_one(waits, &[]).await.unwrap().get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        other.batch_execute("COMMIT").await.unwrap();
    };
    let (stored, ()) =
        tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(ingest(&world, &time), commit) })
            .await
            .expect("it ends");
    assert_eq!((stored, world.rows_by_partition().await.as_str()), (1, "2022_05: 1"));
}

/// Re-sealing rewrites ciphertext and key, and must not touch an index.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_ciphertext_is_a_hot_update() {
    let world = World::vault().await;
    world.allow_raw_events().await;
    let day: Date = OffsetDateTime::now_utc().date();
    world.add_raw_events(&day.to_string(), 200).await;
    world
        .sql
        .batch_execute(
            "BEGIN;
             UPDATE pii_vault.login_events SET ip_ciphertext = decode(repeat('01', 81), 'hex'),
                 device_id_ciphertext = decode(repeat('01', 65), 'hex'), data_key_id = gen_random_uuid()
             WHERE event_id IN (SELECT event_id FROM (SELECT event_id, row_number() OVER (ORDER BY ctid) AS number
                                FROM pii_vault.login_events) AS e WHERE number % 4 = 0)",
        )
        .await
        .unwrap();
    let sql = "SELECT sum(n_tup_upd)::bigint, sum(n_tup_hot_upd)::bigint FROM pg_stat_xact_all_tables
               WHERE relname LIKE 'login\\_events\\_%'";
    let row = world.sql.query_one(sql, &[]).await.unwrap();
    let (all, hot): (i64, i64) = (row.get(0), row.get(1));
    // 30 % of each page is free: room for a new version of every fourth row.
    assert!(all == 50 && hot == 50, "{hot} of {all} updates were HOT");
}
