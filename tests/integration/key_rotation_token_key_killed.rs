//! Rotations of the token key from start to end, each of their commands killed anywhere, again and again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::support::{Chance, Finished, Running, Who, World, duplicates, soak};

/// Commands of a rotation in order, and how often each is killed before it is let go on to its end.
type Way = &'static [(&'static str, usize)];

const BACK: Way = &[("run", 9), ("verify", 3), ("cut-over", 9), ("rollback", 9)];
const FORTH: Way = &[("run", 9), ("verify", 3), ("cut-over", 9), ("finish", 9), ("retire", 1)];
const SHORT: [Way; 2] = [
    &[("run", 3), ("cut-over", 2), ("rollback", 2)],
    &[("run", 3), ("verify", 1), ("cut-over", 2), ("finish", 2), ("retire", 1)],
];

struct Killer {
    world: World,
    rows: i64,
    chance: Chance,
    /// No kill comes later, so that the last run of a command has something to do.
    latest: Duration,
    /// How long a command takes that is let go on.
    took: BTreeMap<&'static str, Duration>,
    kills: BTreeMap<&'static str, usize>,
}

impl Killer {
    fn start(&self, command: &str) -> Running {
        match command {
            // In a short dose of many pages too.
            "run" if !soak() => {
                let paced = ["run", "--reason", "a test", "--workers", "2", "--batch", "20", "--rate", "2000/s"];
                self.world.start_token_key(&paced)
            }
            "run" => self.world.start_token_key(&["run", "--reason", "a test", "--workers", "2"]),
            "verify" => self.world.start_token_key(&["verify", "--sample", "300"]),
            "rollback" => self.world.administer(&["rollback", "--reason", "a test"]),
            "retire" => self.world.administer(&["retire", "--reason", "a test"]),
            other => self.world.administer(&[other]),
        }
    }

    /// Kills a command so often, and lets it go on then.
    async fn go(&mut self, command: &'static str, kills: usize) {
        for _ in 0..kills {
            let most = self.took.get(command).map_or(Duration::from_millis(400), |took| self.latest.min(*took));
            let delay = self.chance.below(most.as_millis().try_into().unwrap());
            let started = Instant::now();
            if let Some(ended) =
                self.start(command).struck_after(Duration::from_millis(delay.try_into().unwrap())).await
            {
                self.took.insert(command, started.elapsed());
                return self.ended(command, ended).await;
            }
            *self.kills.entry(command).or_default() += 1;
            self.holds().await;
        }
        let started = Instant::now();
        let ended = self.start(command).finish();
        self.took.insert(command, started.elapsed());
        self.ended(command, ended).await;
    }

    async fn ended(&self, command: &str, ended: Finished) {
        // What was killed had done it all, but for saying so.
        if ended.code() == Some(3) && ended.json()["refused"] == "no_rotation" {
            assert!(["finish", "rollback"].contains(&command), "{command}: {}", ended.stderr);
            assert_eq!(self.world.rotation_step().await, "done");
        } else {
            ended.done();
        }
    }

    /// Wherever it is: all rows show, with tokens, no row has half of a slot, and there is one rotation.
    async fn holds(&self) {
        let sql = "SELECT count(*), count(masked_ip), count(masked_device_id) FROM user_logins";
        let row = self.world.sql.query_one(sql, &[]).await.unwrap();
        assert_eq!([row.get::<_, i64>(0), row.get(1), row.get(2)], [self.rows; 3]);
        let half = "pii_vault.login_events WHERE num_nulls(ip_token_a, device_id_token_a, token_key_a) NOT IN (0, 3) \
                    OR num_nulls(ip_token_b, device_id_token_b, token_key_b) NOT IN (0, 3)";
        assert_eq!(self.world.count(half).await, 0);
        let step = self.world.rotation_step().await;
        let states = self.world.token_states().await;
        let (_, shows) = states.rsplit_once("; ").unwrap();
        assert!(states.contains(&format!("{shows} active")), "{states} at {step}");
    }
}

/// What nobody may change: of each event, all but tokens, data and all.
async fn fixed(world: &World) -> Vec<(Uuid, String)> {
    let sql = "SELECT event_id, md5((to_jsonb(e) - '{ip_token_a,device_id_token_a,token_key_a,ip_token_b,\
               device_id_token_b,token_key_b}'::text[])::text) FROM pii_vault.login_events AS e ORDER BY 1";
    world.sql.query(sql, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_anywhere_rotations_go_on_end_and_verify() {
    let (rows, least, ways) = if soak() { (100_000, 100, [BACK, FORTH]) } else { (2_000, 1, SHORT) };
    let world = World::vault().await;
    world.import(rows);
    let analyst = world.connect(Who::Analyst).await;
    let (reported, before) = (duplicates(&analyst).await, fixed(&world).await);
    let (took, kills) = (BTreeMap::new(), BTreeMap::new());
    let latest = Duration::from_millis(if soak() { 4_000 } else { 1_200 });
    let mut killer = Killer { world, rows: rows.try_into().unwrap(), chance: Chance::new(), latest, took, kills };
    let began = Instant::now();
    let mut rotations = 0;
    while killer.kills.values().sum::<usize>() < least {
        for way in ways {
            for (command, kills) in way {
                killer.go(command, *kills).await;
                assert_eq!(duplicates(&analyst).await, reported, "after {command}");
            }
            assert_eq!(killer.world.rotation_step().await, "done");
            rotations += 1;
        }
    }
    eprintln!("{rotations} rotations of {rows} rows in {:?}, with kills {:?}", began.elapsed(), killer.kills);
    let world = &killer.world;
    assert_eq!(fixed(world).await, before);
    let left = "pii_vault.login_events WHERE num_nonnulls(token_key_a, token_key_b) <> 1 OR coalesce(token_key_a, \
                token_key_b) <> (SELECT id FROM pii_vault.token_keys WHERE state = 'active')";
    assert_eq!(world.count(left).await, 0);
    assert_eq!(world.count("pii_vault.token_keys WHERE state NOT IN ('active', 'retired')").await, 0);
    assert_eq!(world.count("pii_vault.rotation_jobs").await, rotations);
    assert_eq!(world.count("pii_vault.rotation_failures").await, 0);
    assert_eq!(world.odd_partitions().await, [""; 0]);
    let mut events = world.events_of_logins().await;
    if soak() {
        events.retain(|_, number| number.is_multiple_of(50));
    }
    world.assert_shown(&events).await;
    world.pii_vault(Who::Auditor, &["audit", "verify"]).finish().done();
}
