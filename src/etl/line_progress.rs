use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How far a file is read and settled.
#[derive(Debug)]
pub struct LineProgress {
    from: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// All lines from the first up to this one, not included, are settled.
    next: u64,
    /// Settled runs of lines beyond it: first line to the one after the last.
    beyond: BTreeMap<u64, u64>,
    /// The line after the last, once it is known.
    end: Option<u64>,
}

/// A line that became a row or a dead letter, and the blank lines before it.
pub(super) struct Lines {
    pub(super) since: u64,
    pub(super) next: u64,
}

impl LineProgress {
    pub(super) fn new(from: u64) -> Self {
        Self { from, state: Mutex::new(State { next: from, beyond: BTreeMap::new(), end: None }) }
    }

    /// The first line that was asked for.
    #[must_use]
    pub fn from(&self) -> u64 {
        self.from
    }

    /// All lines before this one are settled: where to go on.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.state().next
    }

    /// Whether all lines of the file are settled.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let state = self.state();
        state.end == Some(state.next)
    }

    pub(super) fn settle(&self, lines: impl IntoIterator<Item = Lines>) {
        let mut state = self.state();
        for Lines { since, mut next } in lines {
            // Neighbours become one, so that memory grows with the gaps and not with the lines.
            if let Some(after) = state.beyond.remove(&next) {
                next = after;
            }
            match state.beyond.range_mut(..since).next_back() {
                Some((_, end)) if *end == since => *end = next,
                _ => {
                    state.beyond.insert(since, next);
                }
            }
        }
        let State { next, beyond, .. } = &mut *state;
        while let Some(after) = beyond.remove(next) {
            *next = after;
        }
    }

    /// The file ends before line `next`; from `since` on it is blank.
    pub(super) fn end(&self, since: u64, next: u64) {
        self.state().end = Some(next);
        if since < next {
            self.settle([Lines { since, next }]);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(since: u64, next: u64) -> [Lines; 1] {
        [Lines { since, next }]
    }

    #[test]
    fn it_goes_on_at_the_first_line_that_is_not_settled() {
        let progress = LineProgress::new(3);
        progress.settle(lines(7, 8));
        progress.settle(lines(4, 7));
        assert_eq!((progress.next(), progress.is_complete()), (3, false));
        progress.settle(lines(3, 4));
        assert_eq!((progress.next(), progress.is_complete()), (8, false));
        progress.end(8, 10);
        assert_eq!((progress.next(), progress.is_complete()), (10, true));
    }

    #[test]
    fn a_line_that_was_given_up_keeps_it_from_being_complete() {
        let progress = LineProgress::new(1);
        progress.settle(lines(2, 3));
        progress.end(3, 3);
        assert_eq!((progress.next(), progress.is_complete()), (1, false));
    }

    #[test]
    fn an_empty_file_is_complete() {
        let progress = LineProgress::new(1);
        progress.end(1, 1);
        assert_eq!((progress.next(), progress.is_complete()), (1, true));
    }
}
