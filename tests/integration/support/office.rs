//! A day in an office while a token key is rotated: logins come and are ingested, all rows are unmasked again and
//! again, and another officer opens single ones by what the view shows of them, and has values looked up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_postgres::Client;
use uuid::Uuid;

use super::tokens::Sent;
use super::{Finished, Traffic, Who, World, login};

pub(crate) struct Office {
    world: Arc<World>,
    shared: Arc<Shared>,
    traffic: JoinHandle<Sent>,
    officer: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    closes: AtomicBool,
    /// Rounds of the traffic, and of the officer.
    rounds: [AtomicUsize; 2],
}

impl Office {
    /// All rows that are there must be of [`super::DAY`] and of [`login`].
    pub(crate) async fn opens(world: &Arc<World>) -> Self {
        let mut traffic = Traffic::begin(world, &[]).await;
        let shared = Arc::new(Shared::default());
        // Both wait for processes, which would hold up what else the runtime has to do.
        let (office, at, on) = (shared.clone(), world.clone(), Handle::current());
        let come_and_go = async move {
            while office.go_on(0) {
                traffic.go_on(&at).await;
            }
            traffic.end(&at).await
        };
        let traffic = spawn_blocking(move || on.block_on(come_and_go));
        let (office, at, on) = (shared.clone(), world.clone(), Handle::current());
        let look = async move {
            let analyst = at.connect(Who::Analyst).await;
            while office.go_on(1) {
                look(&at, &analyst).await;
            }
        };
        let officer = spawn_blocking(move || on.block_on(look));
        Self { world: world.clone(), shared, traffic, officer }
    }

    /// Waits until some more rows came, all were unmasked, and others were opened by their tokens.
    pub(crate) async fn goes_on(&self) {
        let rounds = || [0, 1].map(|who: usize| self.shared.rounds[who].load(Ordering::Relaxed));
        let (before, rows) = (rounds(), self.world.count("pii_vault.login_events").await);
        for _ in 0..600 {
            let more = rounds().iter().zip(before).all(|(now, before)| *now > before + 1);
            if more && self.world.count("pii_vault.login_events").await > rows {
                return;
            }
            assert!(!self.traffic.is_finished() && !self.officer.is_finished(), "somebody was disappointed");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nothing goes on");
    }

    /// Ends once all that was sent is stored, and returns that.
    pub(crate) async fn closes(self) -> Sent {
        self.shared.closes.store(true, Ordering::Relaxed);
        self.officer.await.expect("rows were found by their tokens");
        self.traffic.await.expect("every row was readable at every moment")
    }
}

impl Shared {
    fn go_on(&self, who: usize) -> bool {
        self.rounds[who].fetch_add(1, Ordering::Relaxed);
        !self.closes.load(Ordering::Relaxed)
    }
}

/// A row that is shown, by its id, by its tokens, and by the token that its ip has.
async fn look(world: &World, analyst: &Client) {
    let sql = "SELECT event_id, substr(user_id, 6)::bigint, masked_ip::text, masked_device_id::text FROM user_logins \
               ORDER BY random() LIMIT 1";
    let row = analyst.query_one(sql, &[]).await.expect("a row");
    let (event, ip, device): (Uuid, String, String) = (row.get(0), row.get(2), row.get(3));
    let (login, id) = (login(row.get::<_, i64>(1).try_into().expect("a number")), event.to_string());
    let sealed = Some([login["ip"].clone(), login["device_id"].clone()]);
    assert_eq!(opened(&world.unmask(&["--event-id", &id, "--format", "json"]).done(), &id), sealed, "by its id");
    let tokens = ["--masked-ip", &ip, "--masked-device-id", &device, "--format", "json"];
    let by_tokens = opened(&world.unmask(&tokens).done(), &id);
    let asked = ["lookup", "ip", "--reason", "a test", "--case", "C-1", "--output", "json"];
    let value = login["ip"].as_str().expect("an ip");
    let found = world.pii_vault_given(Who::Lookup, &asked, &[], value.as_bytes()).finish().done().json();
    let sql = "SELECT masked_ip::text FROM user_logins WHERE event_id = $1";
    let ip_after: String = analyst.query_one(sql, &[&event]).await.expect("it is still there").get(0);
    let found = found[0]["token"].as_str().expect("a token");
    assert!(found == ip || found == ip_after, "a lookup gives what the view shows");
    // Tokens that were given up in between find nothing.
    if ip == ip_after {
        assert_eq!(by_tokens, sealed, "by its tokens");
    }
}

/// Ip and device id of an event, as they were opened.
fn opened(rows: &Finished, event: &str) -> Option<[serde_json::Value; 2]> {
    let row = rows.lines().into_iter().find(|row| row["event_id"] == event)?;
    Some([row["ip"].clone(), row["device_id"].clone()])
}
