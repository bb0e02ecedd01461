//! Rotations of long tables: as much memory for ten times the rows, or a hundred times.

use std::io::Write as _;

use crate::support::{Who, World, ended, soak};

/// A page that is kept is some 300 bytes a row: 6 MiB for the 18,000 rows more of the small dose.
const MORE: u64 = 3 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_of_a_long_table_takes_no_more_memory_than_that_of_a_short_one() {
    let doses = if soak() { [10_000, 1_000_000] } else { [2_000, 20_000] };
    let [short, long] = [peaks(doses[0]).await, peaks(doses[1]).await];
    let told = format!("rotation: {short:?} KiB for {} rows, {long:?} KiB for {} rows\n", doses[0], doses[1]);
    std::io::stderr().write_all(told.as_bytes()).unwrap();
    for (kind, (short, long)) in ["data-key", "token-key"].iter().zip(short.into_iter().zip(long)) {
        assert!(long < short + MORE, "{kind}: {short} KiB for {} rows, {long} KiB for {}", doses[0], doses[1]);
    }
}

/// In KiB, of `data-key run` and `token-key run` over so many rows.
async fn peaks(rows: usize) -> [u64; 2] {
    let world = World::vault().await;
    world.ingest_more("a-long-table", rows);
    let mut peaks = [0; 2];
    let runs: [(&[_], _); 2] = [(&["data-key", "run", "--max-age", "0"], "done"), (&["token-key", "run"], "filled")];
    for (peak, (run, how)) in peaks.iter_mut().zip(runs) {
        let args = [&["key-rotation"], run, &["--reason", "a test", "--output", "json"]].concat();
        let (run, most) = world.pii_vault(Who::Reseal, &args).finish_with_peak().await;
        assert_eq!(ended(&run.done().json()), (how, rows.try_into().unwrap(), 0));
        *peak = most;
    }
    peaks
}
