use super::finding::shortened;
use super::{Finding, Status};
use crate::db::inspect::rotation::{self, Unfinished};
use crate::db::rotation::{KeyGroup, keys};
use crate::db::{Connection, DbError};
use crate::domain::{KeyState, Purpose, RotationStep};

const HOUR: i64 = 3600;
const WEEK: i64 = 7 * 24 * HOUR;

/// Rotations that stand, and keys that could be retired.
pub(super) async fn check(conn: &mut Connection) -> Vec<Finding> {
    vec![rotations(rotation::unfinished(conn).await), idle_keys(decrypt_only(conn).await)]
}

fn rotations(found: Result<Vec<Unfinished>, DbError>) -> Finding {
    const CHECK: &str = "rotations";
    let found = match found {
        Ok(found) => found,
        Err(error) => return Finding::unchecked(CHECK, &error),
    };
    let standing: Vec<_> = found.iter().filter_map(stands).collect();
    match (standing.as_slice(), found.len()) {
        ([], 0) => Finding::ok(CHECK, "no rotation of keys is under way"),
        ([], count) => Finding::ok(CHECK, format!("{count} under way or paused")),
        (standing, _) => Finding::bad(
            CHECK,
            Status::Warn,
            shortened(standing),
            "run the same command again, which goes on where it was, or pause it; what is filled: `pii-vault key-rotation \
             token-key cut-over`, or roll it back. `pii-vault key-rotation status` shows all",
        ),
    }
}

fn stands(job: &Unfinished) -> Option<String> {
    let Unfinished { name, step, paused, seconds } = job;
    match step {
        RotationStep::Work | RotationStep::Emptying if !paused && *seconds > HOUR => {
            Some(format!("{name} has had no runner for {} h and is not paused", seconds / HOUR))
        }
        RotationStep::Filled if *seconds > WEEK => {
            Some(format!("{name} has been filled for {} days and is not cut over", seconds / (24 * HOUR)))
        }
        _ => None,
    }
}

/// Only where there are such keys are rows counted, which reads all of them.
async fn decrypt_only(conn: &mut Connection) -> Result<Vec<KeyGroup>, DbError> {
    let is_some = |group: &KeyGroup| group.state == Some(KeyState::DecryptOnly);
    match keys(conn, false).await?.iter().any(is_some) {
        true => Ok(keys(conn, true).await?.into_iter().filter(is_some).collect()),
        false => Ok(Vec::new()),
    }
}

fn idle_keys(found: Result<Vec<KeyGroup>, DbError>) -> Finding {
    const CHECK: &str = "idle-keys";
    let found = match found {
        Ok(found) => found,
        Err(error) => return Finding::unchecked(CHECK, &error),
    };
    let idle: Vec<_> = Purpose::ALL
        .into_iter()
        .filter_map(|purpose| {
            let unused: i64 = found.iter().filter(|group| group.purpose == purpose).map(|group| group.unused).sum();
            (unused > 0).then(|| format!("{unused} {} keys", purpose.name()))
        })
        .collect();
    match idle.is_empty() {
        true => Finding::ok(CHECK, "no key is kept for opening that no row names"),
        false => Finding::bad(
            CHECK,
            Status::Warn,
            format!("decrypt-only, and no row names them: {}", idle.join(", ")),
            "retire them, as they open nothing but copies: `pii-vault key-rotation data-key retire`, `… token-key retire`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(step: RotationStep, paused: bool, seconds: i64) -> Unfinished {
        Unfinished { name: "data-key rotation 1".to_owned(), step, paused, seconds }
    }

    #[test]
    fn a_rotation_stands_that_nobody_works_on_or_decides_on() {
        assert_eq!(rotations(Ok(vec![])).status, Status::Ok);
        for (step, paused, seconds, stands) in [
            (RotationStep::Work, false, HOUR, false),
            (RotationStep::Work, false, HOUR + 1, true),
            (RotationStep::Work, true, WEEK * 9, false),
            (RotationStep::Emptying, false, 2 * HOUR, true),
            (RotationStep::Filled, false, WEEK, false),
            (RotationStep::Filled, true, WEEK + 1, true),
            (RotationStep::CutOver, false, 9 * WEEK, false),
        ] {
            let found = rotations(Ok(vec![job(step, paused, seconds)]));
            assert_eq!(found.status == Status::Warn, stands, "{found:?}");
        }
    }
}
