//! Analysts at work while keys are rotated: one asks for all rows again and again, one reports the duplicates of
//! before by a view of her own, and one holds an old snapshot.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::Client;
use uuid::Uuid;

use super::analyst::{Analyst, Seen};
use super::{DAY, Who, World};

const PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Readers {
    asks: Analyst,
    reports: JoinHandle<()>,
    old: Client,
    /// As the old snapshot has it.
    first: Vec<(Uuid, String, String)>,
}

impl Readers {
    /// All three; her view is of the rows of [`DAY`], so that what comes meanwhile is not in it.
    pub(crate) async fn begin(world: &World) -> Self {
        let asks = Analyst::asks(world.connect(Who::Analyst).await, PAUSE);
        let reports = reports(world).await;
        let old = world.connect(Who::Analyst).await;
        old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.expect("begun");
        let first = shown(&old).await;
        Self { asks, reports, old, first }
    }

    /// Who has the old snapshot sees what she saw, and then ends her transaction.
    pub(crate) async fn end_of_snapshot(&self) {
        assert!(shown(&self.old).await == self.first, "an old snapshot shows what it did");
        self.old.batch_execute("COMMIT").await.expect("committed");
    }

    /// What the first saw, statement by statement. The duplicates were the same in each report of the second.
    pub(crate) async fn saw(self) -> Vec<Vec<Seen>> {
        // One report more, after all that was done.
        tokio::time::sleep(3 * PAUSE).await;
        assert!(!self.reports.is_finished(), "the duplicates of before were the same in each report");
        self.reports.abort();
        self.asks.saw().await
    }
}

async fn shown(analyst: &Client) -> Vec<(Uuid, String, String)> {
    let sql = "SELECT event_id, masked_ip::text, masked_device_id::text FROM user_logins ORDER BY 1";
    let rows = analyst.query(sql, &[]).await.expect("rows");
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

/// Ends by a panic where a report is another than the first.
async fn reports(world: &World) -> JoinHandle<()> {
    let analyst = world.connect(Who::Analyst).await;
    world.sql.batch_execute("CREATE SCHEMA mine AUTHORIZATION pii_vault_analyst").await.expect("a schema");
    let view = format!(
        "CREATE VIEW mine.repeated AS
         SELECT array_agg(event_id ORDER BY event_id) AS events FROM user_logins WHERE create_date = '{DAY}'
         GROUP BY GROUPING SETS ((masked_ip), (masked_device_id)) HAVING count(*) > 1",
    );
    analyst.batch_execute(&view).await.expect("a view");
    let before = groups(&analyst).await;
    assert!(before.len() > 100, "ips, and devices: {}", before.len());
    tokio::spawn(async move {
        loop {
            assert!(groups(&analyst).await == before, "other groups of duplicates than before");
            tokio::time::sleep(PAUSE).await;
        }
    })
}

/// Events of before by their ip and by their device.
async fn groups(analyst: &Client) -> Vec<Vec<Uuid>> {
    let rows = analyst.query("SELECT events FROM mine.repeated ORDER BY 1", &[]).await.expect("a report");
    rows.iter().map(|row| row.get(0)).collect()
}
