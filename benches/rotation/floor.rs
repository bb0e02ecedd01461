//! The floor: PostgreSQL alone, with the same UPDATEs of the same columns in the same pages, by as many connections.
//! What is stored is made by PostgreSQL: nothing is read out, opened or sealed, and nothing recorded.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::bed::Bed;
use crate::round::{Left, Round};

/// What is changed of each row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// As re-sealing does.
    Seals,
    /// As back-fill does.
    SecondTokens,
    /// As `finish` does.
    NoFirstTokens,
}

impl Change {
    /// Values of the same lengths.
    fn assignments(self) -> &'static str {
        match self {
            Self::Seals => {
                "ip_ciphertext = set_byte(ip_ciphertext, 20, 255 - get_byte(ip_ciphertext, 20)),
                 device_id_ciphertext = set_byte(device_id_ciphertext, 20, 255 - get_byte(device_id_ciphertext, 20)),
                 data_key_id = '6f3d4c1e-8f4b-4c1e-9a57-0d8f1d2f8c11'"
            }
            Self::SecondTokens => {
                "ip_token_b = ip_token_a, device_id_token_b = device_id_token_a,
                 token_key_b = '6f3d4c1e-8f4b-4c1e-9a57-0d8f1d2f8c11'"
            }
            Self::NoFirstTokens => "ip_token_a = NULL, device_id_token_a = NULL, token_key_a = NULL",
        }
    }
}

/// Where a page begins: beyond this.
type Position = (String, Uuid);

pub(crate) async fn floor(bed: &Bed, database: &str, change: Change, batch: i64, workers: usize) -> Result<Round> {
    let watch = bed.connect(database).await?;
    if matches!(change, Change::NoFirstTokens) {
        // As `finish` begins.
        watch
            .batch_execute("DROP INDEX pii_vault.login_events_ip_token_a, pii_vault.login_events_device_id_token_a")
            .await?;
    }
    let rows: i64 = watch.query_one("SELECT count(*) FROM pii_vault.login_events", &[]).await?.get(0);
    let cursor: Arc<Mutex<Position>> = Arc::new(Mutex::new(("-infinity".to_owned(), Uuid::nil())));
    let mut clients = Vec::new();
    for _ in 0..workers {
        clients.push(bed.connect(database).await?);
    }
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for client in clients {
        tasks.spawn(update(client, cursor.clone(), change, batch));
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let whole = began.elapsed();
    #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "a count of rows")]
    let rate = rows as f64 / whole.as_secs_f64();
    Ok(Round { rate, whole, peak: 0, left: Left::of(&watch, rows).await? })
}

async fn update(client: Client, cursor: Arc<Mutex<Position>>, change: Change, batch: i64) -> Result<()> {
    // As the functions of the vault do: left to itself the planner sorts the whole table for each page. It is to know
    // the values, too.
    client
        .batch_execute("SET enable_sort = off; SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off")
        .await?;
    loop {
        let mut cursor = cursor.lock().await;
        let (day, id) = cursor.clone();
        let page = format!(
            "SELECT e.create_date::text, e.event_id FROM pii_vault.login_events AS e
             WHERE e.create_date >= '{day}' AND (e.create_date, e.event_id) > ('{day}', '{id}')
             ORDER BY e.create_date, e.event_id LIMIT {batch}"
        );
        let page = client.query(&page, &[]).await?;
        let Some(end) = page.last() else { return Ok(()) };
        *cursor = (end.get(0), end.get(1));
        let (last_day, last_id) = cursor.clone();
        drop(cursor);
        let update = format!(
            "UPDATE pii_vault.login_events SET {} WHERE create_date BETWEEN '{day}' AND '{last_day}'
             AND (create_date, event_id) > ('{day}', '{id}')
             AND (create_date, event_id) <= ('{last_day}', '{last_id}')",
            change.assignments()
        );
        client.execute(&update, &[]).await?;
    }
}
