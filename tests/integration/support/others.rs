//! Who changes and deletes rows while keys are rotated.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::Client;
use uuid::Uuid;

use super::{Chance, World};

/// One row after the other.
pub(crate) struct Others {
    over: Arc<AtomicBool>,
    changing: JoinHandle<BTreeMap<Uuid, i32>>,
}

impl Others {
    /// Rows that come later are not hers.
    pub(crate) async fn begin(world: &World) -> Self {
        world.sql.batch_execute("UPDATE pii_vault.login_events SET app_version = '0'").await.expect("it is done");
        let ids = world.sql.query("SELECT event_id FROM pii_vault.login_events", &[]).await.expect("it is done");
        let versions = ids.iter().map(|row| (row.get(0), 0)).collect();
        let over = Arc::new(AtomicBool::new(false));
        let changing = tokio::spawn(change(world.superuser().await, versions, over.clone()));
        Self { over, changing }
    }

    /// Each row that is there has been changed as often as she changed it, and what she deleted is gone. How many she
    /// left.
    pub(crate) async fn assert_none_lost(self, world: &World) -> usize {
        self.over.store(true, Ordering::Relaxed);
        let left = self.changing.await.expect("she changes rows");
        let sql = "SELECT event_id, app_version::integer FROM pii_vault.login_events";
        let rows = world.sql.query(sql, &[]).await.expect("rows");
        let rows: BTreeMap<Uuid, i32> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let (all, mut hers) = (left.len(), left);
        hers.retain(|event, _| rows.contains_key(event));
        assert!(rows == hers, "no update was lost, and no row came back");
        assert!(rows.values().any(|times| *times > 0), "she had changed some");
        all
    }
}

async fn change(sql: Client, mut versions: BTreeMap<Uuid, i32>, over: Arc<AtomicBool>) -> BTreeMap<Uuid, i32> {
    let mut chance = Chance::new();
    while !over.load(Ordering::Relaxed) {
        let (event, version) =
            versions.iter().nth(chance.below(versions.len())).map(|(event, n)| (*event, *n)).expect("it is done");
        let delete = chance.below(8) == 0;
        let statement = if delete {
            "DELETE FROM pii_vault.login_events"
        } else {
            "UPDATE pii_vault.login_events SET app_version = app_version::integer + 1"
        };
        let found = sql.execute(&format!("{statement} WHERE event_id = $1"), &[&event]).await.expect("it is done");
        if delete || found == 0 {
            versions.remove(&event);
        } else {
            versions.insert(event, version + 1);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    versions
}
