//! Nothing leaks: what must stay secret is looked for wherever a process leaves traces.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::json;
use sha2::{Digest as _, Sha256, Sha512};

use crate::support::{Who, World, login};

/// In one message each: an address, a device id, and a body that is no login.
pub(super) const CANARIES: [&str; 5] = [
    "203.0.113.251",
    "2001:db8:ca:7a:91::5",
    "canary-device-7f3a",
    "kanarienvögel 🐤 device",
    "canary-in-a-broken-body",
];

fn bodies() -> Vec<String> {
    let with = |key: &str, value: &str| {
        let mut login = login(1);
        login[key] = json!(value);
        login.to_string()
    };
    vec![
        with("ip", CANARIES[0]),
        with("ip", CANARIES[1]),
        with("device_id", CANARIES[2]),
        with("device_id", CANARIES[3]),
        format!("{{\"ip\": \"{}\"", CANARIES[4]),
        // Refused for another member: its address is a secret all the same.
        with("ip", CANARIES[0]).replace("\"2.3.0\"", "7"),
    ]
}

/// The canaries as they are, in hex, in base64 at each alignment, and hashed without a key.
fn needles() -> Vec<Vec<u8>> {
    let mut needles = Vec::new();
    for canary in CANARIES.map(str::as_bytes) {
        needles.push(canary.to_vec());
        for hex in [hex(canary), hex(&Sha256::digest(canary)), hex(&Sha512::digest(canary))] {
            needles.push(hex.to_uppercase().into_bytes());
            needles.push(hex.into_bytes());
        }
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            needles.push(engine.encode(Sha256::digest(canary)).into_bytes());
            for shift in 0..3 {
                let shifted = engine.encode([&vec![0; shift], canary].concat());
                // What the neighbours have a share in is cut off.
                needles.push(shifted.as_bytes()[if shift == 0 { 0 } else { 4 }..shifted.len() - 2].to_vec());
            }
        }
    }
    needles
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
pub(super) fn assert_clean(what: &str, bytes: &[u8]) {
    for needle in needles() {
        let found = bytes.windows(needle.len()).any(|window| window == needle);
        assert!(!found, "{what} holds {}", String::from_utf8_lossy(&needle));
    }
}

/// The folder that the binary may leave files in, which no other test uses.
fn home(world: &World) -> PathBuf {
    let home = std::env::temp_dir().join(format!("pii-vault-canary-{}", world.id));
    fs::create_dir(&home).unwrap();
    home
}

fn assert_empty(home: &Path) {
    let files: Vec<_> = fs::read_dir(home).unwrap().map(|entry| entry.unwrap().path()).collect();
    fs::remove_dir_all(home).unwrap();
    assert!(files.is_empty(), "{files:?}");
}

#[test]
fn the_search_finds_what_it_looks_for() {
    for canary in CANARIES {
        let base64 = STANDARD_NO_PAD.encode(format!("x{canary}yz"));
        for leak in [format!("…{canary}…"), hex(canary.as_bytes()), base64, hex(&Sha256::digest(canary))] {
            let found = needles().iter().any(|needle| leak.as_bytes().windows(needle.len()).any(|part| part == needle));
            assert!(found, "{leak}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_file_or_table_holds_what_was_sent() {
    let world = World::vault().await;
    // Everything that PostgreSQL can be made to log, bound values too.
    for setting in ["log_statement = 'all'", "log_min_duration_statement = 0", "log_min_messages = 'debug1'"] {
        let sql = format!("ALTER DATABASE test_{} SET {setting}", world.id);
        world.sql.batch_execute(&sql).await.unwrap();
    }
    let home = home(&world);
    let home_text = home.to_str().unwrap();
    let env = [
        ("RUST_LOG", "trace"),
        ("RUST_BACKTRACE", "full"),
        ("TMPDIR", home_text),
        ("HOME", home_text),
        ("LC_ALL", "C"),
    ];
    world.send(bodies()).await;
    world.sql.batch_execute("SELECT pii_vault.set_policy(NULL, NULL, NULL, NULL, NULL, 'x')").await.unwrap();

    // Held up in the middle of a batch: what the system shows of the process, and what PostgreSQL shows of its work.
    let blocker = world.superuser().await;
    blocker.batch_execute("BEGIN; LOCK TABLE pii_vault.login_events IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let args = ["etl", "run", "--wait", "1s", "--visibility-timeout", "2s"];
    let log = home.with_extension("log");
    let mut run = world.command(Who::Ingest, &args).envs(env).stderr(File::create_new(&log).unwrap()).spawn().unwrap();
    let inserting = "pg_stat_activity WHERE query LIKE 'INSERT INTO pii_vault.login_events%'";
    while world.count(&format!("{inserting} AND datname = current_database()")).await == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let process = Path::new("/proc").join(run.id().to_string());
    for file in ["cmdline", "environ", "status"] {
        assert_clean(file, &fs::read(process.join(file)).unwrap());
    }
    let activity: String = world
        .sql
        .query_one("SELECT string_agg(activity::text, ' ') FROM pg_stat_activity AS activity", &[])
        .await
        .unwrap()
        .get(0);
    assert_clean("pg_stat_activity", activity.as_bytes());
    // Killed there.
    run.kill().unwrap();
    run.wait().unwrap();
    assert_clean("the log of a killed run", &fs::read(&log).unwrap());
    fs::remove_file(&log).unwrap();
    blocker.batch_execute("ROLLBACK").await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;

    let args = ["etl", "run", "--drain", "--wait", "2s", "--output", "json"];
    let finished = world.pii_vault_with(Who::Ingest, &args, &env).finish().done();
    assert_eq!((finished.json()["stored"].as_u64(), world.count("pii_vault.dead_letters").await), (Some(4), 2));
    assert_clean("standard output", finished.stdout.as_bytes());
    assert_clean("the log", finished.stderr.as_bytes());
    for args in [&["list"][..], &["redrive", "--all", "--note", "x"]] {
        let told = world.pii_vault_with(Who::Redrive, &[&["etl", "dead-letters"], args].concat(), &env).finish().done();
        assert_clean("what is told of dead letters", told.stdout.as_bytes());
        assert_clean("its log", told.stderr.as_bytes());
    }
    assert_eq!(world.count("pii_vault.redrive_rows WHERE outcome = 'refused'").await, 2, "both were opened");

    let input = home.with_extension("jsonl");
    fs::write(&input, bodies().join("\n")).unwrap();
    let from_file = ["etl", "run", "--date", "2026-01-01", "--input", input.to_str().unwrap()];
    for (who, args) in [(Who::Ingest, &from_file[..]), (Who::Administrator, &["doctor"])] {
        let told = world.pii_vault_with(who, args, &env).finish();
        assert_clean("what a file's run and doctor tell", told.stdout.as_bytes());
        assert_clean("their logs", told.stderr.as_bytes());
    }
    for (field, values) in [("ip", &CANARIES[..2]), ("device-id", &CANARIES[2..])] {
        let args = ["lookup", field, "--reason", "x", "--case", "C-1"];
        let told = world.pii_vault_given(Who::Lookup, &args, &env, values.join("\n").as_bytes()).finish().done();
        assert_clean("tokens", told.stdout.as_bytes());
        assert_clean("the log of a look-up", told.stderr.as_bytes());
    }
    let args = ["lookup", "ip", "--reason", "x", "--case", "C-1"];
    let told = world.pii_vault_given(Who::Lookup, &args, &env, CANARIES.join("\n").as_bytes()).finish().exits(2);
    assert_clean("what is told of lines that are no value", told.stderr.as_bytes());
    fs::remove_file(&input).unwrap();
    assert_eq!(world.count("pii_vault.login_events WHERE create_date = '2026-01-01'").await, 4, "the file was read");

    let log = world.postgres_log();
    assert!(log.windows(20).any(|part| part == b"pii_vault.hold_keys("), "the server did log statements");
    assert_clean("PostgreSQL's log", &log);
    assert_clean("pg_dump", &world.pg_dump());
    assert_empty(&home);
    let lengths = "(SELECT DISTINCT octet_length(ip_ciphertext) FROM pii_vault.login_events) AS lengths";
    assert_eq!(world.count(lengths).await, 1, "an ip's length does not show");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_and_a_closed_pipe_are_told_without_a_word_of_content() {
    let world = World::vault().await;
    world.send(bodies()).await;
    let full = File::options().write(true).open("/dev/full").unwrap();
    let drain = ["etl", "run", "--drain", "--wait", "1s"];
    let finished = world.command(Who::Ingest, &drain).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(finished.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&finished.stderr).contains("No space left"), "{finished:?}");
    assert_clean("standard error", &finished.stderr);
    assert_eq!(world.count("pii_vault.login_events").await, 4, "what was stored stays stored");

    let mut list =
        world.command(Who::Redrive, &["etl", "dead-letters", "list"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(list.stdout.take());
    assert_eq!(list.wait().unwrap().code(), Some(1), "who reads is gone: no panic, no noise");

    let not_utf8 = std::ffi::OsStr::from_bytes(b"\xFFcanary");
    let refused = Command::new(env!("CARGO_BIN_EXE_pii-vault")).arg(not_utf8).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
}
