//! What ingestion, the runners, and whoever reads or deletes do in the database.

use super::flaw::Flaw;
use super::protocol::Rotation;
use super::state::{Batch, Check, Event, KeyState, Page, Row, Runner, Snapshot, State, TOKEN_KEYS, TokenKeys, Work};

impl Rotation {
    /// `hold_keys`: 'held', or why not.
    pub(crate) fn judge_keys(&self, state: &mut State, number: usize) {
        let process = state.processes[number];
        let Batch::Locked(locked) = process.batch else { return };
        let seen = |keys: TokenKeys| if self.has(Flaw::HoldInOneStatement) { both(keys, locked) } else { keys };
        let (in_use, required) = (seen(state.tokens_in_use()), seen(state.tokens_required()));
        let has_right_keys =
            both(required, process.tokens) == required && both(in_use, process.tokens) == process.tokens;
        if has_right_keys && state.data_keys[process.data_key] == KeyState::Active {
            state.processes[number].batch = Batch::Held(locked);
        } else {
            state.learn(number);
        }
    }

    pub(crate) fn insert(&self, state: &mut State, number: usize, event: usize) {
        let process = state.processes[number];
        let Batch::Held(held) = process.batch else { return };
        if state.events[event].row.is_some() {
            // A redelivery, of which nothing is left to commit.
            state.processes[number].batch = Batch::Committed(event);
        } else if self.passes(state, &state.new_row(number)) {
            state.processes[number].batch = Batch::Inserted(held, event);
        } else {
            state.stopped = true;
            state.learn(number);
        }
    }

    /// The CHECK, as it binds who writes.
    fn passes(&self, state: &State, row: &Row) -> bool {
        state.check == Check::No || self.has_what_check_asks(state, row)
    }

    pub(crate) fn has_what_check_asks(&self, state: &State, row: &Row) -> bool {
        state.is_filled(row, state.to) && (state.is_filled(row, state.from) || self.has(Flaw::CheckOfNewSlot))
    }

    /// An UPDATE, which compares with the newest version of the row: whoever had it locked has ended.
    pub(crate) fn update(&self, state: &mut State, number: usize) {
        state.runners[number] = match state.runners[number] {
            Runner::Fetched(page) | Runner::Held(page) => self.updated(state, page),
            other => other,
        };
    }

    fn updated(&self, state: &mut State, page: Page) -> Runner {
        let Some(row) = state.events[page.event].row else { return Runner::Idle };
        let compares = match page.work {
            Work::Fill(key) => !state.is_filled(&row, key),
            Work::Empty(key) => self.is_left(state, &row, key),
            Work::Reseal { from, .. } => row.data_key == from,
        };
        if !compares && !self.has(Flaw::StoredWithoutCompare) {
            return Runner::Idle;
        }
        state.counted_twice |= !compares;
        if self.passes(state, &state.applied(page, row)) {
            Runner::Updated(page)
        } else {
            state.stopped = true;
            Runner::Idle
        }
    }

    /// Whether the slot of a token key is to be emptied: whatever is in it, but tokens of a key that is in use.
    pub(crate) fn is_left(&self, state: &State, row: &Row, token_key: usize) -> bool {
        let may_be_taken = |key: usize| !state.tokens_in_use()[key] || self.has(Flaw::EmptiedBeforeTakenOut);
        row.slots[state.slots[token_key]].is_some_and(may_be_taken)
    }

    pub(crate) fn commit_page(&self, state: &mut State, number: usize) {
        if let Runner::Updated(page) = state.runners[number] {
            let row = state.events[page.event].row;
            state.events[page.event].row = row.map(|row| state.applied(page, row));
            state.runners[number] = Runner::Idle;
        }
    }

    /// Somebody holds the row of the token key: FOR KEY SHARE, and a runner FOR SHARE.
    pub(crate) fn token_is_held(&self, state: &State, key: usize) -> bool {
        let by_process = state.processes.iter().any(|process| match process.batch {
            Batch::Locked(held) | Batch::Held(held) | Batch::Inserted(held, _) => held[key],
            Batch::Idle | Batch::Reading(_) | Batch::Committed(_) => false,
        });
        let by_runner = state.held_pages().any(|page| match page.work {
            Work::Fill(_) => key == state.from || key == state.to,
            Work::Empty(_) | Work::Reseal { .. } => false,
        });
        by_process && !self.has(Flaw::HoldTakesNoLock) || by_runner && !self.has(Flaw::StoredWithoutHold)
    }

    /// Somebody holds a token key, or changes one: who wants the table of them waits.
    pub(crate) fn tokens_are_locked(&self, state: &State) -> bool {
        let held = |key| self.token_is_held(state, key) && !self.has(Flaw::RequiredWithoutLock);
        (0..TOKEN_KEYS).any(|key| held(key) || state.token_is_changing(key))
    }

    /// Somebody holds the row of the data key FOR KEY SHARE.
    pub(crate) fn data_is_held(&self, state: &State, key: usize) -> bool {
        let by_process = state
            .processes
            .iter()
            .any(|process| process.data_key == key && matches!(process.batch, Batch::Held(_) | Batch::Inserted(..)));
        let by_runner = state.held_pages().any(|page| matches!(page.work, Work::Reseal { to, .. } if to == key));
        by_process && !self.has(Flaw::HoldTakesNoLock) || by_runner && !self.has(Flaw::StoredWithoutHold)
    }
}

impl State {
    /// Columns of the newest version stay what they are.
    fn applied(&self, page: Page, row: Row) -> Row {
        let mut row = page.read.unwrap_or(row);
        match page.work {
            Work::Fill(key) => row.slots[self.slots[key]] = Some(key),
            Work::Empty(key) => row.slots[self.slots[key]] = None,
            Work::Reseal { to, .. } => row.data_key = to,
        }
        row
    }

    /// The first statement of `hold_keys`: of the keys in its snapshot, those that are still in use.
    pub(crate) fn lock_keys(&mut self, number: usize) {
        if let Batch::Reading(mut seen) = self.processes[number].batch {
            let used = self.tokens_in_use();
            (0..TOKEN_KEYS).for_each(|key| seen[key] &= used[key]);
            self.processes[number].batch = Batch::Locked(seen);
        }
    }

    /// Refused, a process rolls back, and reads the token keys. It makes a data key if its own is out of use.
    fn learn(&mut self, number: usize) {
        let data_key = self.processes[number].data_key;
        self.start(number);
        if self.data_keys[data_key] == KeyState::Active {
            self.processes[number].data_key = data_key;
        }
    }

    /// A process starts: what it did not commit is gone, and so are its locks.
    pub(crate) fn start(&mut self, number: usize) {
        let (tokens, data_key) = (self.tokens_in_use(), self.fresh_data());
        let process = &mut self.processes[number];
        (process.tokens, process.data_key, process.batch) = (tokens, data_key, Batch::Idle);
    }

    fn new_row(&self, number: usize) -> Row {
        let process = &self.processes[number];
        let mut row = Row { data_key: process.data_key, slots: [None; 2] };
        (0..TOKEN_KEYS).filter(|key| process.tokens[*key]).for_each(|key| row.slots[self.slots[key]] = Some(key));
        row
    }

    pub(crate) fn commit(&mut self, number: usize) {
        if let Batch::Inserted(_, event) = self.processes[number].batch {
            self.events[event].row = Some(self.new_row(number));
            self.processes[number].batch = Batch::Committed(event);
        }
    }

    pub(crate) fn acknowledge(&mut self, number: usize) {
        match self.processes[number].batch {
            Batch::Committed(event) => {
                self.events[event].acknowledged = true;
                self.processes[number].batch = Batch::Idle;
            }
            // A flaw.
            Batch::Inserted(_, event) => self.events[event].acknowledged = true,
            _ => {}
        }
    }

    /// What keeps the keys of a runner: in one step, and without the other statements of the transaction if it is refused.
    pub(crate) fn hold(&mut self, number: usize) {
        if let Runner::Fetched(page) = self.runners[number] {
            let held = match page.work {
                Work::Fill(key) => self.to == key && self.tokens_in_use()[key] && self.tokens_in_use()[self.from],
                Work::Empty(_) => true,
                Work::Reseal { to, .. } => self.data_keys[to] == KeyState::Active,
            };
            self.runners[number] = if held { Runner::Held(page) } else { Runner::Idle };
        }
    }

    fn held_pages(&self) -> impl Iterator<Item = &Page> {
        self.runners.iter().filter_map(|runner| match runner {
            Runner::Held(page) | Runner::Updated(page) => Some(page),
            Runner::Idle | Runner::Fetched(_) => None,
        })
    }

    pub(crate) fn take_snapshot(&mut self) {
        let slots = self.events.map(|event| event.row.map(|row| row.slots));
        self.reader = Some(Snapshot { slots, older: false });
    }

    pub(crate) fn may_be_deleted(&self, event: usize) -> bool {
        let acknowledging = |batch| matches!(batch, Batch::Committed(of) if of == event);
        let Event { row, acknowledged } = self.events[event];
        row.is_some()
            && acknowledged
            && !self.row_is_locked(event)
            && !self.processes.iter().any(|process| acknowledging(process.batch))
    }

    /// And whoever has read the row finds none to update: the next event has another primary key.
    pub(crate) fn delete(&mut self, event: usize) {
        self.events[event] = Event::default();
        for runner in &mut self.runners {
            if matches!(runner, Runner::Fetched(page) | Runner::Held(page) if page.event == event) {
                *runner = Runner::Idle;
            }
        }
    }
}

/// The keys that are in both.
fn both(some: TokenKeys, others: TokenKeys) -> TokenKeys {
    std::array::from_fn(|key| some[key] && others[key])
}
