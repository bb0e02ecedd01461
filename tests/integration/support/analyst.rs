//! Analysts: who asks for all rows of the view again and again, and who reports duplicates.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::Client;
use uuid::Uuid;

/// An event with its tokens, as a statement saw it.
pub(crate) type Seen = (Uuid, Option<String>, Option<String>);

/// Of ip and device id, by event.
pub(crate) type Tokens = HashMap<Uuid, (String, String)>;

pub(crate) struct Analyst {
    stop: Arc<AtomicBool>,
    asking: JoinHandle<Vec<Vec<Seen>>>,
}

impl Analyst {
    /// Asks every `pause`: by a statement that she prepared once, and by one that she did not.
    pub(crate) fn asks(client: Client, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        Self { asking: tokio::spawn(ask(client, pause, stop.clone())), stop }
    }

    /// What she saw, statement by statement.
    pub(crate) async fn saw(self) -> Vec<Vec<Seen>> {
        self.stop.store(true, Ordering::Relaxed);
        self.asking.await.unwrap()
    }
}

async fn ask(client: Client, pause: Duration, stop: Arc<AtomicBool>) -> Vec<Vec<Seen>> {
    let sql = "SELECT event_id, masked_ip::text, masked_device_id::text FROM user_logins";
    let (prepared, mut seen) = (client.prepare(sql).await.unwrap(), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        for rows in [client.query(&prepared, &[]).await.unwrap(), client.query(sql, &[]).await.unwrap()] {
            seen.push(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect());
        }
        tokio::time::sleep(pause).await;
    }
    seen
}

/// The keys whose tokens were seen, each once for as long as it was. Each statement saw tokens of one key alone.
#[track_caller]
pub(crate) fn keys_seen(statements: &[Vec<Seen>], keys: &[Tokens]) -> Vec<usize> {
    let of = |key: &Tokens, (event, ip, device_id): &Seen| {
        let tokens = key.get(event);
        tokens.is_some_and(|tokens| (Some(&tokens.0), Some(&tokens.1)) == (ip.as_ref(), device_id.as_ref()))
    };
    let key = |(number, statement): (usize, &Vec<Seen>)| {
        let key = keys.iter().position(|key| statement.iter().all(|seen| of(key, seen)));
        key.unwrap_or_else(|| panic!("statement {number} saw tokens of several keys, or none"))
    };
    let mut seen: Vec<_> = statements.iter().enumerate().map(key).collect();
    seen.dedup();
    seen
}

/// The groups of duplicates that analysts see, each as its events, without the tokens.
pub(crate) async fn duplicates(analyst: &Client) -> (Vec<Vec<Uuid>>, Vec<Vec<Uuid>>) {
    let mut groups = Vec::new();
    for column in ["masked_ip", "masked_device_id"] {
        let sql =
            format!("SELECT array_agg(event_id ORDER BY event_id) AS g FROM user_logins GROUP BY {column} ORDER BY 1");
        let rows = analyst.query(&sql, &[]).await.expect("a report");
        groups.push(rows.iter().map(|row| row.get(0)).collect());
    }
    let devices = groups.pop().expect("two");
    (groups.pop().expect("two"), devices)
}
