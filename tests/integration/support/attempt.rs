//! A run of `unmask` under a fault, and the rule that holds however it ended.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Who, World, login};

/// A vault with three pages of events, the data key of each page its own, and what runs leave.
pub(crate) struct Pages {
    pub(crate) world: World,
    folder: PathBuf,
}

/// Events of each page: of a full one as many as of all others together, and more.
const PAGES: [usize; 3] = [500, 500, 1];
pub(crate) const ROWS: usize = 1_001;
/// In each device id, so that it is known wherever it stands.
const CANARY: &str = "canary-device";

/// A run for a case of its own.
pub(crate) struct Attempt {
    child: Child,
    case: String,
    rows: PathBuf,
    said: PathBuf,
    /// Told where a check fails.
    what: String,
}

/// How it ended, checked.
pub(crate) struct Ended {
    /// `None`: by a signal.
    pub(crate) code: Option<i32>,
    /// Whole rows that were handed out.
    pub(crate) rows: usize,
    /// Rows that have an outcome.
    pub(crate) settled: usize,
    /// Whether there is a receipt.
    pub(crate) recorded: bool,
    pub(crate) said: String,
}

impl Pages {
    pub(crate) async fn new() -> Self {
        let world = World::vault().await;
        world.set_policy(1_000_000).await;
        let folder = std::env::temp_dir().join(format!("pii-vault-faults-{}", world.id));
        fs::create_dir(&folder).unwrap();
        let mut number = 0;
        for (page, events) in PAGES.into_iter().enumerate() {
            let lines: String = (0..events).map(|event| format!("{}\n", original(number + event))).collect();
            number += events;
            let input = folder.join("input");
            fs::write(&input, lines).unwrap();
            let (input, date) = (input.to_str().unwrap(), format!("2026-03-0{}", page + 1));
            world.pii_vault(Who::Ingest, &["etl", "run", "--input", input, "--date", &date]).finish().done();
        }
        Self { world, folder }
    }

    /// Starts `unmask` of all of them. Rows go to standard output, or to `--out` where `to_file`.
    pub(crate) fn start(&self, what: &str, to_file: bool, env: &[(&str, &str)]) -> Attempt {
        self.start_through(r#"exec "$0" "$@""#, what, to_file, env)
    }

    /// The same by a shell script, where it is `"$0" "$@"`.
    pub(crate) fn start_through(&self, script: &str, what: &str, to_file: bool, env: &[(&str, &str)]) -> Attempt {
        let case = Uuid::new_v4().to_string();
        let (rows, said) = (self.folder.join(format!("{case}.rows")), self.folder.join(format!("{case}.said")));
        let log = File::create_new(&said).unwrap();
        let mut args = vec!["unmask", "--reason", "a test", "--case", &case, "--format", "json", "--output", "json"];
        args.extend(["--since", "2026-03-01", "--until", "2026-03-31", "--patience", "1s"]);
        let mut command = if to_file {
            args.extend(["--out", rows.to_str().unwrap()]);
            let mut command = self.world.script(Who::Officer, script, &args);
            command.stdout(log.try_clone().unwrap());
            command
        } else {
            let mut command = self.world.script(Who::Officer, script, &args);
            command.stdout(File::create_new(&rows).unwrap());
            command
        };
        command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full").envs(env.iter().copied());
        let child = command.stderr(log).spawn().unwrap();
        Attempt { child, case, rows, said, what: what.to_owned() }
    }

    /// Where `PostgreSQL` is reached by this port instead.
    pub(crate) fn database_url_by(&self, port: u16) -> String {
        let direct = format!("127.0.0.1:{}", self.world.postgres_port());
        let url = self.world.database_url(Who::Officer).replace(&direct, &format!("127.0.0.1:{port}"));
        format!("{url}?sslmode=disable")
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

impl Attempt {
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Where it has ended by itself already, that is no fault.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// How many bytes of rows there are.
    pub(crate) fn written(&self) -> u64 {
        self.rows.metadata().map_or(0, |metadata| metadata.len())
    }

    /// Waits for its end, and sees that the rule was kept.
    pub(crate) async fn ended(mut self, world: &World) -> Ended {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.is_running() {
            assert!(Instant::now() < deadline, "{}: it hangs", self.what);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let code = self.child.wait().unwrap().code();
        let rows = fs::read(&self.rows).unwrap_or_default();
        let said = String::from_utf8(fs::read(&self.said).unwrap()).unwrap();
        let what = format!("{}: exit {code:?}, {} bytes, {said}", self.what, rows.len());
        assert!(!said.contains(CANARY) && !said.contains("198.51."), "{what}: plaintext in what it said");
        let log = Log::of(world, &self.case).await;
        let whole = log.check(&rows, &what);
        match code {
            Some(0) => assert_eq!((whole, log.settled, log.rows), (ROWS, ROWS, ROWS), "{what}: done, and not all"),
            Some(1 | 3 | 4) | None => {}
            Some(_) => panic!("{what}: no such exit status"),
        }
        fs::remove_file(&self.rows).ok();
        fs::remove_file(&self.said).unwrap();
        Ended { code, rows: whole, settled: log.settled, recorded: log.receipt.is_some(), said }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What the database has of a case, as a superuser sees it.
struct Log {
    receipt: Option<Uuid>,
    /// Whether the receipt stands in the log as allowed, charged in full.
    stands: bool,
    rows: usize,
    /// By day and event.
    ordinals: HashMap<(String, String), usize>,
    settled: usize,
}

impl Log {
    async fn of(world: &World, case: &str) -> Self {
        // In one statement: who served a killed run may still be committing.
        let receipts = "SELECT t.id, t.decision = 'allowed' AND t.value_count = 2 * t.row_count AND EXISTS (
                SELECT FROM pii_vault.audit_log AS l WHERE l.seq = t.seq AND l.subject = t.id AND l.action = 'unmask'
                    AND l.decision = 'allowed' AND l.case_id = t.case_id), t.row_count, t.settled_through, (
                SELECT coalesce(json_agg(l.details ORDER BY l.seq), '[]')::text FROM pii_vault.audit_log AS l
                WHERE l.subject = t.id AND l.action = 'unmask_page' AND l.decision IS NULL)
            FROM pii_vault.receipts AS t WHERE t.case_id = $1";
        let receipts = world.sql.query(receipts, &[&case]).await.unwrap();
        assert!(receipts.len() <= 1, "{case}: charged {} times", receipts.len());
        let Some(row) = receipts.first() else {
            return Self { receipt: None, stands: false, rows: 0, ordinals: HashMap::new(), settled: 0 };
        };
        let id: Uuid = row.get(0);
        let ordinals =
            "SELECT create_date::text, event_id::text, ordinal FROM pii_vault.receipt_rows WHERE receipt = $1";
        let ordinals = world.sql.query(ordinals, &[&id]).await.unwrap();
        let pages: Vec<Value> = serde_json::from_str(row.get(4)).unwrap();
        let settled = pages.iter().fold(0, |settled, page| {
            let [first, last, opened] = ["first", "last", "opened"].map(|key| page[key].as_i64().unwrap());
            assert_eq!(
                (first, opened),
                (settled + 1, last - settled),
                "{case}: they follow each other, and all opened"
            );
            last
        });
        assert_eq!(settled, i64::from(row.get::<_, i32>(3)), "{case}: the receipt and the log agree");
        let count = |count: i32| usize::try_from(count).unwrap();
        Self {
            receipt: Some(id),
            stands: row.get(1),
            rows: count(row.get(2)),
            ordinals: ordinals.iter().map(|row| ((row.get(0), row.get(1)), count(row.get(2)))).collect(),
            settled: usize::try_from(settled).unwrap(),
        }
    }

    /// Returns how many whole rows were handed out.
    #[track_caller]
    fn check(&self, handed_out: &[u8], what: &str) -> usize {
        let handed_out = String::from_utf8_lossy(handed_out);
        let mut whole = 0;
        for (index, line) in handed_out.split_inclusive('\n').enumerate() {
            // Rows come in the order of the list, so the one that was cut is known by its place.
            assert!(
                index < self.settled,
                "{what}: row {} was handed out, of {} with an outcome",
                index + 1,
                self.settled
            );
            let Some(line) = line.strip_suffix('\n') else { break };
            let row: Value = serde_json::from_str(line).unwrap();
            let event = ["create_date", "event_id"].map(|key| row[key].as_str().unwrap().to_owned());
            assert_eq!(self.ordinals.get(&event.clone().into()), Some(&(index + 1)), "{what}: {event:?} at this place");
            let number: usize = row["user_id"].as_str().unwrap().trim_start_matches("user-").parse().unwrap();
            let original = original(number);
            assert_eq!((&row["ip"], &row["device_id"]), (&original["ip"], &original["device_id"]), "{what}: {event:?}");
            whole += 1;
        }
        assert!(handed_out.is_empty() || self.stands, "{what}: handed out, and no receipt stands for it");
        whole
    }
}

fn original(number: usize) -> Value {
    let mut login = login(number);
    login["ip"] = json!(format!("198.51.{}.{}", number / 250, number % 250));
    login["device_id"] = json!(format!("{CANARY}-{number}"));
    login
}
