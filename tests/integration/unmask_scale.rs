//! Long lists: constant memory, whatever their length.

use std::io::Write as _;
use std::time::Instant;

use crate::support::{Who, World, login, soak};

/// Ends where a receipt does: 100,000 rows, by many keys.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_takes_no_more_memory_than_a_page() {
    let (rows, files) = if soak() { (100_000, 32) } else { (6_000, 3) };
    let world = World::vault().await;
    world.set_policy(1_000_000).await;
    let folder = std::env::temp_dir().join(format!("pii-vault-scale-{}", world.id));
    std::fs::create_dir(&folder).unwrap();
    for file in 0..files {
        let path = folder.join(format!("{file}.jsonl"));
        let lines: String = (0..rows / files).map(|number| format!("{}\n", login(number))).collect();
        std::fs::write(&path, lines).unwrap();
        let args = ["etl", "run", "--input", path.to_str().unwrap(), "--date", "2026-03-31"];
        world.pii_vault(Who::Ingest, &args).finish().done();
    }
    let out = folder.join("rows");
    let began = Instant::now();
    let all = ["--since", "2026-03-31", "--until", "2026-03-31", "--format", "csv", "--out", out.to_str().unwrap()];
    let (run, peak) = world.start_unmask(&all).finish_with_peak().await;
    let summary = run.done().json();
    let took = began.elapsed();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(summary["released"], rows / files * files, "{summary}");
    assert!(peak < 96 << 10, "{peak} KiB");
    let told = format!("unmask: {rows} rows of {files} keys in {took:?}, {peak} KiB\n");
    std::io::stderr().write_all(told.as_bytes()).unwrap();
}
