//! What the administrator does. Each change of a key is one transaction that begins by taking the rows of the keys
//! FOR UPDATE, and goes by what it reads behind that lock.

use super::flaw::Flaw;
use super::protocol::Rotation;
use super::state::{Administrator, Change, Check, Job, KeyState, State};

impl Rotation {
    /// Whether the change follows from the states of the keys, the job, the CHECK and the view.
    pub(crate) fn permits(&self, state: &State, change: Change) -> bool {
        let (from, to) = (state.token_keys[state.from], state.token_keys[state.to]);
        match change {
            Change::Announce => {
                !state.token_keys.contains(&KeyState::Pending) && self.next_token(state) < self.token_keys
            }
            Change::CutOver => {
                let filled = match state.job {
                    Job::Filling => self.has(Flaw::CutOverBeforeFilled),
                    Job::Filled => state.check == Check::Valid || self.has(Flaw::CountedNotChecked),
                    Job::No | Job::Emptying | Job::Emptied => false,
                };
                let older_snapshot = state.reader.is_some_and(|snapshot| snapshot.older);
                let awaited = !older_snapshot || self.has(Flaw::SnapshotsNotAwaited);
                to == KeyState::Pending && filled && awaited
            }
            Change::Rollback => {
                let taken_out = self.has(Flaw::OldKeyOutAtCutOver) && from == KeyState::DecryptOnly;
                to == KeyState::Active && (from == KeyState::Pending || taken_out && state.job == Job::Filled)
            }
            Change::TakeOut => {
                let dropped = state.check == Check::No || self.has(Flaw::FinishKeepsCheck);
                let emptied = state.job == Job::Emptied || !self.has(Flaw::EmptiedBeforeTakenOut);
                state.token_keys[state.hidden_token()] == KeyState::Pending && dropped && emptied
            }
            Change::RetireToken(key) => state.token_keys[key] == KeyState::DecryptOnly,
            Change::TakeOutData(key) => key + 1 < self.data_keys && state.data_keys[key] == KeyState::Active,
            Change::RetireData(key) => {
                let at_once = self.has(Flaw::RetiredByCountBeforeLock) && key + 1 < self.data_keys;
                state.data_keys[key] == KeyState::DecryptOnly || at_once && state.data_keys[key] == KeyState::Active
            }
        }
    }

    /// Whether somebody holds a key that the change takes FOR UPDATE.
    pub(crate) fn waits(&self, state: &State, change: Change) -> bool {
        match change {
            Change::Announce => {
                let waits = |key| state.token_keys[key] == KeyState::Active && self.token_is_held(state, key);
                (0..self.token_keys).any(waits)
            }
            Change::CutOver | Change::Rollback => {
                self.token_is_held(state, state.from) || self.token_is_held(state, state.to)
            }
            Change::TakeOut => self.token_is_held(state, state.hidden_token()),
            Change::RetireToken(key) => self.token_is_held(state, key),
            Change::TakeOutData(key) | Change::RetireData(key) => self.data_is_held(state, key),
        }
    }

    /// What a statement counts, where a change asks for it: rows that name the key, or have the slot filled.
    pub(crate) fn nothing_is_left(&self, state: &State, change: Change) -> bool {
        match change {
            Change::Announce => {
                let emptied = state.rows().all(|row| row.slots[1 - state.view].is_none());
                emptied || self.has(Flaw::AnnouncedBeforeEmptied)
            }
            Change::RetireToken(key) => !state.rows().any(|row| state.is_under(row, key)),
            Change::RetireData(key) => state.rows().all(|row| row.data_key != key),
            Change::CutOver | Change::Rollback | Change::TakeOut | Change::TakeOutData(_) => true,
        }
    }

    /// The rest of the transaction.
    pub(crate) fn commit_change(&self, state: &mut State) {
        let Administrator::Locked(change) = state.administrator else { return };
        state.administrator = Administrator::Idle;
        let counted_before = self.has(Flaw::RetiredByCountBeforeLock) && matches!(change, Change::RetireData(_));
        if !counted_before && !self.nothing_is_left(state, change) {
            return;
        }
        let (from, to) = (state.from, state.to);
        match change {
            Change::Announce => {
                state.from = state.active_token();
                state.to = self.next_token(state);
                state.token_keys[state.to] = KeyState::Pending;
                state.slots[state.to] = 1 - state.view;
                state.job = Job::Filling;
                state.optional = true;
            }
            // The view, `vault.active_slot` and the keys.
            Change::CutOver => {
                let taken_out = self.has(Flaw::OldKeyOutAtCutOver);
                state.view = state.slots[to];
                state.token_keys[to] = KeyState::Active;
                state.token_keys[from] = if taken_out { KeyState::DecryptOnly } else { KeyState::Pending };
            }
            Change::Rollback => {
                state.view = state.slots[from];
                state.token_keys[from] = KeyState::Active;
                state.token_keys[to] = KeyState::Pending;
            }
            Change::TakeOut => {
                state.token_keys[state.hidden_token()] = KeyState::DecryptOnly;
                state.job = Job::Emptying;
                state.optional = false;
            }
            Change::RetireToken(key) => state.token_keys[key] = KeyState::Retired,
            Change::TakeOutData(key) => state.data_keys[key] = KeyState::DecryptOnly,
            Change::RetireData(key) => state.data_keys[key] = KeyState::Retired,
        }
    }

    fn next_token(&self, state: &State) -> usize {
        state.token_keys.iter().position(|key| *key == KeyState::Missing).unwrap_or(self.token_keys)
    }

    /// VALIDATE reads all that is committed. Snapshots from here on show every row filled. Refused, the CHECK is dropped.
    pub(crate) fn validate(&self, state: &mut State) {
        if state.rows().all(|row| self.has_what_check_asks(state, row)) {
            state.check = Check::Valid;
            if let Some(snapshot) = &mut state.reader {
                snapshot.older = true;
            }
        } else {
            state.check = Check::No;
        }
    }

    /// Before a key is taken out; also when the administrator thinks better of the cut-over.
    pub(crate) fn drop_check(&self, state: &mut State) {
        state.check = Check::No;
        if self.has(Flaw::EmptiedBeforeTakenOut) {
            state.job = Job::Emptying;
        }
    }
}

impl State {
    fn active_token(&self) -> usize {
        self.token_keys.iter().position(|key| *key == KeyState::Active).unwrap_or_default()
    }

    /// The administrator holds the row of the token key FOR UPDATE.
    pub(crate) fn token_is_changing(&self, key: usize) -> bool {
        let Administrator::Locked(change) = self.administrator else { return false };
        match change {
            Change::Announce => key == self.active_token(),
            Change::CutOver | Change::Rollback => key == self.from || key == self.to,
            Change::TakeOut => key == self.hidden_token(),
            Change::RetireToken(of) => key == of,
            Change::TakeOutData(_) | Change::RetireData(_) => false,
        }
    }

    /// The administrator holds the row of the data key FOR UPDATE.
    pub(crate) fn data_is_changing(&self, key: usize) -> bool {
        matches!(self.administrator,
            Administrator::Locked(Change::TakeOutData(of) | Change::RetireData(of)) if of == key)
    }
}
