//! What goes on while keys are rotated.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::tokens::Sent;
use super::{DAY, Running, Who, World, login};

/// Two processes that ingest, and an officer who unmasks the rows of [`DAY`] that were there before.
pub(crate) struct Traffic {
    /// IP and device id of these rows.
    rows: BTreeMap<Uuid, (String, String)>,
    ingestion: [Running; 2],
    sent: Sent,
    /// How often all rows were unmasked.
    pub(crate) looks: usize,
}

impl Traffic {
    /// Starts both processes, with these arguments of `etl run` beside the usual ones, and waits for their first rows.
    pub(crate) async fn begin(world: &World, args: &[&str]) -> Self {
        world.set_policy(1_000_000).await;
        let opened = world.opened_events().await;
        let rows: BTreeMap<_, _> = opened.into_iter().map(|(id, event)| (id, (event.ip, event.device_id))).collect();
        let ingest = ["etl", "run", "--wait", "1s", "--visibility-timeout", "2s", "--output", "json"];
        let start = || world.pii_vault(Who::Ingest, &[&ingest, args].concat());
        let mut traffic = Self { rows, ingestion: [start(), start()], sent: Sent::new(), looks: 0 };
        traffic.send(world, 40).await;
        traffic.arrive(world).await;
        traffic
    }

    /// Some more logins come, and the officer finds every row as it was.
    pub(crate) async fn go_on(&mut self, world: &World) {
        self.send(world, 10).await;
        let all = world.unmask(&["--since", DAY, "--until", DAY, "--format", "json"]).done();
        let unmasked: BTreeMap<Uuid, _> = all
            .lines()
            .into_iter()
            .map(|row| {
                let text = |member: &str| row[member].as_str().expect("text").to_owned();
                (text("event_id").parse().expect("an id"), (text("ip"), text("device_id")))
            })
            .collect();
        assert!(unmasked == self.rows, "every row is readable at every moment: {}", all.stderr);
        self.looks += 1;
    }

    /// The same until there is a row of this.
    pub(crate) async fn go_on_until(&mut self, world: &World, row: &str) {
        let began = Instant::now();
        while world.count(row).await == 0 {
            assert!(began.elapsed() < Duration::from_secs(120), "there is no {row}");
            self.go_on(world).await;
        }
    }

    /// Ends both processes once they have stored what was sent, and returns that.
    pub(crate) async fn end(mut self, world: &World) -> Sent {
        self.go_on(world).await;
        self.arrive(world).await;
        for process in self.ingestion {
            process.signal("TERM");
            process.finish().done();
        }
        self.sent
    }

    async fn send(&mut self, world: &World, count: usize) {
        let ids = world.send((0..count).map(|number| login(number).to_string())).await;
        self.sent.extend(ids.into_iter().zip(0..));
    }

    async fn arrive(&self, world: &World) {
        let all = i64::try_from(self.rows.len() + self.sent.len()).expect("few");
        world.wait_for_rows("true", all).await;
    }
}
