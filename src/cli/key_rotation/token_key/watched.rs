//! How far the steps are that an administrator takes.

use indicatif::ProgressBar;

use crate::cli::progress;
use crate::key_rotation::token_key::Progress;

/// Shows how far `step` is, for as long as it takes.
pub(super) async fn watched<R>(step: impl AsyncFnOnce(&dyn Fn(Progress)) -> R) -> R {
    let line = progress::line();
    let ended = step(&|progress| tell(line, &progress)).await;
    line.finish_and_clear();
    ended
}

fn tell(line: &ProgressBar, progress: &Progress) {
    match progress {
        Progress::Verified(done, total) => line.set_message(format!("rows verified in {done} of {total} tables")),
        Progress::Indexed(done, total) => line.set_message(format!("{done} of {total} indexes built")),
        Progress::Comparing => line.set_message("comparing duplicates under both keys"),
        Progress::Waiting(holders) => match holders.first() {
            Some(first) => {
                let pid = first.pid.map_or("prepared".to_owned(), |pid| format!("pid {pid}"));
                line.set_message(format!("waiting for {} others: {pid}, {}, …", holders.len(), first.who));
            }
            None => line.set_message("waiting for others"),
        },
    }
    line.tick();
}
