//! Where rows go: standard output or a new file, and what stands there when a run ends before its time.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Stdio;

use crate::support::{Who, World, json_lines};

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(world: &World) -> Self {
        let path = std::env::temp_dir().join(format!("pii-vault-out-{}", world.id));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).into_os_string().into_string().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

async fn with_logins(count: usize) -> (World, Folder) {
    let world = World::vault().await;
    world.set_policy(100_000).await;
    world.send_logins(count).await;
    world.drain(&[]);
    let folder = Folder::new(&world);
    (world, folder)
}

const ALL: [&str; 6] = ["--since", "2000-01-01", "--until", "2999-01-01", "--format", "json"];

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_new_private_whole_and_the_summary_goes_to_standard_output() {
    let (world, folder) = with_logins(3).await;
    let file = folder.file("rows.jsonl");
    let run = world.unmask(&[&ALL[..], &["--out", &file]].concat()).done();
    assert_eq!(run.json()["released"], 3);
    assert!(!run.stdout.contains("device-") && !run.stderr.contains("device-"));
    assert_eq!(json_lines(&fs::read_to_string(&file).unwrap()).len(), 3);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_not_overwritten_and_nothing_is_charged_for_a_file_that_cannot_be_made() {
    let (world, folder) = with_logins(3).await;
    let (there, link, target) = (folder.file("there"), folder.file("link"), folder.file("target"));
    fs::write(&there, "mine").unwrap();
    symlink(&target, &link).unwrap();
    for file in [&there, &link, &folder.file("no/such/folder"), "/", ""] {
        let run = world.unmask(&[&ALL[..], &["--out", file]].concat());
        assert!(matches!(run.code(), Some(1 | 2)), "{file}: {run:?}");
        assert!(!run.stderr.contains("device-"), "{}", run.stderr);
    }
    assert_eq!(fs::read_to_string(&there).unwrap(), "mine");
    assert!(!fs::exists(&target).unwrap());
    assert_eq!(world.count("pii_vault.receipts").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_run_leaves_no_file() {
    let (world, folder) = with_logins(3).await;
    world.set_policy(5).await;
    let file = folder.file("rows");
    assert_eq!(world.unmask(&[&ALL[..], &["--out", &file]].concat()).exits(3).json()["refused"], "alone_limit");
    assert!(!fs::exists(&file).unwrap());
    let away = [("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1")];
    let args =
        ["unmask", "--reason", "a test", "--case", "C-1", "--user-id", "user-1", "--patience", "1s", "--out", &file];
    world.pii_vault_with(Who::Officer, &args, &away).finish().exits(1);
    assert!(!fs::exists(&file).unwrap());
    world.unmask(&["--user-id", "user-2", "--out", &file, "--grant", &uuid::Uuid::new_v4().to_string()]).exits(3);
    assert!(!fs::exists(&file).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_goes_away_ends_it_quietly_and_nothing_more_is_opened() {
    let (world, _folder) = with_logins(2_100).await;
    let args = [&["unmask", "--reason", "a test", "--case", "C-1"], &ALL[..]].concat();
    let mut child = world.command(Who::Officer, &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut reader = BufReader::with_capacity(64, child.stdout.take().unwrap());
    reader.read_line(&mut line).unwrap();
    drop(reader);
    assert!(line.contains("device-"), "{line}");
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
    let pages = world.audited("unmask_page").await;
    assert!(pages.len() < 4, "{pages:?}");
}
