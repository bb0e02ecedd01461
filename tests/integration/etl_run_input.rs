//! Back-fills from files.

use std::io::Write as _;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use pii_vault::domain::EventId;
use serde_json::{Value, json};

use crate::support::{Running, Who, World, assert_adds_up, login};

const DATE: &str = "2025-03-09";

/// A file of this world, deleted with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(world: &World, name: &str, content: &[u8]) -> Self {
        let folder = std::env::temp_dir().join(format!("pii-vault-input-{}", world.id));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
        let _ = std::fs::remove_dir(self.0.parent().unwrap());
    }
}

fn start(world: &World, file: &str, args: &[&str]) -> Running {
    let input = ["etl", "run", "--input", file, "--date", DATE, "--output", "json"];
    world.pii_vault(Who::Ingest, &[&input, args].concat())
}

fn read(world: &World, file: &str, args: &[&str]) -> Value {
    let summary = start(world, file, args).finish().done().json();
    assert_adds_up(&summary);
    summary
}

fn lines(count: usize) -> String {
    (0..count).map(|number| format!("{}\n", login(number))).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_is_stored_once_however_often_it_is_read() {
    let world = World::vault().await;
    let file = Scratch::new(&world, "logins.jsonl", lines(700).as_bytes());
    let first = read(&world, file.path(), &["--batch-size", "50"]);
    assert_eq!((&first["stored"], &first["deleted"]), (&json!(700), &json!(0)));
    assert_eq!(first["lines"], json!({"from": 1, "next": 701, "complete": true}));
    let again = read(&world, file.path(), &[]);
    assert_eq!((&again["stored"], &again["already_stored"]), (&json!(0), &json!(700)));

    let (vault, events) = (world.vault_id().await, world.opened_events().await);
    for number in [0_usize, 1, 99, 100, 699] {
        let id = EventId::of_line(vault, "logins.jsonl", number as u64 + 1);
        assert_eq!(events[&id.0].user_id, format!("user-{number}"), "the id says source and line");
    }
    assert_eq!(world.count(&format!("pii_vault.login_events_2025_03 WHERE create_date = '{DATE}'")).await, 700);

    // Of another name, or another day, they are other logins.
    assert_eq!(read(&world, file.path(), &["--source", "other"])["stored"], 700);
    assert_eq!(read(&world, file.path(), &["--date", "2025-03-10"])["stored"], 700);
    let rest = read(&world, file.path(), &["--from-line", "651"]);
    assert_eq!((&rest["received"], &rest["already_stored"]), (&json!(50), &json!(50)));
}

#[tokio::test(flavor = "multi_thread")]
async fn gzip_and_standard_input_are_read_as_well() {
    let world = World::vault().await;
    let text = lines(60);
    let (head, tail) = text.split_at(text.len() / 2);
    let file = Scratch::new(&world, "logins.gz", &[gzip(head), gzip(tail)].concat());
    assert_eq!(read(&world, file.path(), &["--source", "logins"])["stored"], 60);

    let script = format!("zcat {0} | \"$0\" \"$@\"", file.path());
    let piped = world.pii_vault_through(&script, &["--input", "-", "--source", "logins", "--date", DATE]);
    let summary = piped.finish().done().json();
    assert_eq!((&summary["stored"], &summary["already_stored"]), (&json!(0), &json!(60)));
    let direct = world.pii_vault_through(
        &format!("exec \"$0\" \"$@\" < {}", file.path()),
        &["--input", "-", "--source", "more", "--date", DATE],
    );
    assert_eq!(direct.finish().done().json()["stored"], 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_lines_become_dead_letters_and_hurt_no_other() {
    let world = World::vault().await;
    let mut content = lines(1).into_bytes();
    content.extend_from_slice(b"\n  \nnot json\n\xff{\"ip\": \"canary\"}\n");
    content.extend_from_slice("x".repeat((1 << 20) + 1).as_bytes());
    content.push(b'\n');
    content.extend_from_slice(login(2).to_string().as_bytes());
    let file = Scratch::new(&world, "bad.jsonl", &content);
    let summary = read(&world, file.path(), &[]);
    assert_eq!((&summary["received"], &summary["stored"]), (&json!(5), &json!(2)));
    assert_eq!(summary["dead_letters"], json!({"invalid_json": 2, "too_long": 1}));
    assert_eq!(summary["lines"], json!({"from": 1, "next": 8, "complete": true}));

    let (vault, letters) = (world.vault_id().await, world.opened_dead_letters().await);
    let body = |line| letters[&EventId::of_line(vault, "bad.jsonl", line).0].body.clone();
    assert_eq!(body(4), "not json");
    assert_eq!(body(5), format!("{{\"line_base64\":\"{}\"}}", "/3siaXAiOiAiY2FuYXJ5In0="));
    assert_eq!(body(6), format!("{{\"line\":6,\"line_bytes\":{}}}", (1 << 20) + 2));
    let event = EventId::of_line(vault, "bad.jsonl", 7);
    assert_eq!(world.opened_events().await[&event.0].user_id, "user-2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_ends_early_says_where_and_keeps_what_came() {
    let world = World::vault().await;
    let whole = gzip(&lines(3_000));
    let file = Scratch::new(&world, "cut.gz", &whole[..whole.len() / 2]);
    let failed = start(&world, file.path(), &[]).finish().exits(1);
    let summary = failed.json();
    assert_adds_up(&summary);
    let next = summary["lines"]["next"].as_u64().unwrap();
    assert_eq!((summary["stored"].as_u64(), &summary["lines"]["complete"]), (Some(next - 1), &json!(false)));
    assert!((100..3_000).contains(&next), "{next}");
    assert!(failed.stderr.contains(&format!("Go on with --from-line {next}")), "{}", failed.stderr);
    assert!(failed.stderr.contains(&format!("reading line {next}: ")), "{}", failed.stderr);
    assert_eq!(world.count("pii_vault.dead_letters").await, 0, "no half line");

    std::fs::write(&file.0, &whole).unwrap();
    let rest = read(&world, file.path(), &["--from-line", &next.to_string()]);
    assert_eq!(rest["stored"].as_u64(), Some(3_000 - next + 1));
    assert_eq!(world.count("pii_vault.login_events").await, 3_000);

    let no_queue = [("PII_VAULT_QUEUE_URL", "")];
    let neither = world.pii_vault_with(Who::Ingest, &["etl", "run"], &no_queue).finish().exits(2);
    assert!(neither.stderr.contains("or read a file with --input"), "{}", neither.stderr);
    let args = ["etl", "run", "--input", file.path(), "--date", DATE];
    let human = world.pii_vault_with(Who::Ingest, &args, &no_queue).finish().done();
    assert!(human.stdout.contains("lines             all 3000\n"), "{}", human.stdout);

    let missing = start(&world, "/nonexistent/logins.jsonl", &[]).finish().exits(1);
    assert!(missing.stderr.contains("opening /nonexistent/logins.jsonl: No such file"), "{}", missing.stderr);
    let folder = start(&world, "/", &["--source", "x"]).finish().exits(1);
    assert!(folder.stderr.contains("reading line 1: Is a directory"), "{}", folder.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_stops_it_and_it_goes_on_from_the_line_that_it_says() {
    let world = World::vault().await;
    let count = 40_000;
    let file = Scratch::new(&world, "long.jsonl", lines(count).as_bytes());
    let run = start(&world, file.path(), &["--batch-size", "20"]);
    while world.count("pii_vault.login_events").await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    run.signal("TERM");
    let stopped = run.finish().exits(1);
    let summary = stopped.json();
    assert_adds_up(&summary);
    let next = summary["lines"]["next"].as_u64().unwrap();
    assert!((2..count as u64).contains(&next), "{summary}");
    assert_eq!(summary["stored"].as_u64(), Some(next - 1), "what was read was stored");
    assert!(stopped.stderr.contains("stopped before the end of the file"), "{}", stopped.stderr);

    let rest = read(&world, file.path(), &["--from-line", &next.to_string()]);
    assert_eq!(rest["stored"].as_u64(), Some(count as u64 - next + 1));
    assert_eq!(world.count("pii_vault.login_events").await, count as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_pipe_that_says_nothing_stops_as_well() {
    let world = World::vault().await;
    let script = format!("mkfifo {0}; exec 3<>{0}; exec \"$0\" \"$@\" <&3", fifo(&world).to_str().unwrap());
    let run = world.pii_vault_through(&script, &["--input", "-", "--source", "pipe", "--date", DATE]);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    run.signal("TERM");
    let stopped = run.finish().exits(1);
    assert!(stopped.stderr.contains("Go on with --from-line 1"), "{}", stopped.stderr);
    std::fs::remove_file(fifo(&world)).unwrap();
}

fn fifo(world: &World) -> PathBuf {
    std::env::temp_dir().join(format!("pii-vault-fifo-{}", world.id))
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_whose_key_went_out_of_use_are_not_passed_over() {
    let world = World::vault().await;
    let file = Scratch::new(&world, "logins.jsonl", lines(100).as_bytes());
    // Each data key is out of use as soon as it is stored.
    world
        .sql
        .batch_execute(
            "CREATE FUNCTION pii_vault.spoil() RETURNS trigger LANGUAGE plpgsql AS \
             $$BEGIN NEW.state := 'decrypt-only'; RETURN NEW; END$$; \
             CREATE TRIGGER spoil BEFORE INSERT ON pii_vault.data_keys \
             FOR EACH ROW EXECUTE FUNCTION pii_vault.spoil()",
        )
        .await
        .unwrap();
    let failed = start(&world, file.path(), &[]).finish().exits(1);
    let summary = failed.json();
    assert_eq!((&summary["stored"], &summary["left_in_queue"]), (&json!(0), &json!(100)));
    assert_eq!(summary["lines"], json!({"from": 1, "next": 1, "complete": false}));
    assert!(failed.stderr.contains("read them again"), "{}", failed.stderr);
    world.sql.batch_execute("DROP TRIGGER spoil ON pii_vault.data_keys").await.unwrap();
    assert_eq!(read(&world, file.path(), &[])["stored"], 100);
}
