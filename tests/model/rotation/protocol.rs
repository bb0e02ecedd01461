//! The rotations as a model: who can do what next. What each step does is in `database` and `administrator`.

use stateright::{Model, Property};

use super::action::Action;
use super::flaw::Flaw;
use super::properties;
use super::state::{
    Administrator, Batch, Change, Check, DATA_KEYS, EVENTS, Event, Job, KeyState, PROCESSES, Page, Process, Row,
    Runner, State, TOKEN_KEYS, Work,
};

/// What a runner does. Several of a kind share the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Fills the slot of a pending token key, and empties that of one that is out of use.
    Tokens,
    /// Re-seals.
    Data,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rotation {
    /// Of ingestion.
    pub(crate) processes: usize,
    pub(crate) runners: &'static [Kind],
    pub(crate) events: usize,
    /// Whether a transaction may hold an old snapshot.
    pub(crate) snapshots: bool,
    /// The first is active at the start, and each of the others follows in its turn.
    pub(crate) token_keys: usize,
    /// All active at the start, and any but the last may be taken out of use.
    pub(crate) data_keys: usize,
    pub(crate) flaws: &'static [Flaw],
}

impl Rotation {
    pub(crate) fn has(&self, flaw: Flaw) -> bool {
        self.flaws.contains(&flaw)
    }

    fn process_actions(&self, state: &State, number: usize, actions: &mut Vec<Action>) {
        let process = &state.processes[number];
        match process.batch {
            Batch::Idle => {
                actions.push(Action::ReadKeys(number));
                return;
            }
            Batch::Reading(seen) => {
                let waits = (0..TOKEN_KEYS).any(|key| seen[key] && state.token_is_changing(key));
                if !waits || self.has(Flaw::HoldTakesNoLock) {
                    actions.push(Action::LockKeys(number));
                }
            }
            Batch::Locked(_) => {
                if !state.data_is_changing(process.data_key) || self.has(Flaw::HoldTakesNoLock) {
                    actions.push(Action::JudgeKeys(number));
                }
            }
            Batch::Held(_) => {
                let waiting = |event: &usize| !state.events[*event].acknowledged && !state.row_is_locked(*event);
                actions.extend((0..self.events).filter(waiting).map(|event| Action::Insert(number, event)));
            }
            Batch::Inserted(_, event) => {
                actions.push(Action::Commit(number));
                if self.has(Flaw::AcknowledgedBeforeCommit) && !state.events[event].acknowledged {
                    actions.push(Action::Acknowledge(number));
                }
            }
            Batch::Committed(_) => actions.push(Action::Acknowledge(number)),
        }
        actions.push(Action::ProcessCrash(number));
    }

    fn runner_actions(&self, state: &State, number: usize, actions: &mut Vec<Action>) {
        let update = |page: Page| (!state.row_is_locked(page.event)).then_some(Action::Update(number));
        let step = match state.runners[number] {
            Runner::Idle => {
                let pages = (0..self.events).filter_map(|event| self.page(state, self.runners[number], event));
                actions.extend(pages.map(|page| Action::Fetch(number, page)));
                return;
            }
            // What emptying compares is enough: the key is out of use.
            Runner::Fetched(page @ Page { work: Work::Empty(_), .. }) => update(page),
            Runner::Fetched(page) if self.has(Flaw::StoredWithoutHold) => update(page),
            Runner::Fetched(Page { work: Work::Fill(_), .. }) => {
                let waits = (0..TOKEN_KEYS).any(|key| state.tokens_in_use()[key] && state.token_is_changing(key));
                (!waits).then_some(Action::Hold(number))
            }
            Runner::Fetched(Page { work: Work::Reseal { to, .. }, .. }) => {
                (!state.data_is_changing(to)).then_some(Action::Hold(number))
            }
            Runner::Held(page) => update(page),
            Runner::Updated(_) => Some(Action::CommitPage(number)),
        };
        actions.extend(step);
        actions.push(Action::RunnerCrash(number));
    }

    /// What `fetch` finds to do. Which rows of a job come when is anybody's guess: a pass passes over what a runner
    /// that died had taken, and the next one finds it.
    fn page(&self, state: &State, kind: Kind, event: usize) -> Option<Page> {
        let row = state.events[event].row?;
        let (to, hidden) = (state.to, state.hidden_token());
        let work = match (kind, state.job) {
            (Kind::Tokens, Job::Filling) => (!state.is_filled(&row, to)).then_some(Work::Fill(to)),
            (Kind::Tokens, Job::Emptying) => self.is_left(state, &row, hidden).then_some(Work::Empty(hidden)),
            (Kind::Tokens, _) => None,
            (Kind::Data, _) => {
                let (from, to) = (row.data_key, state.fresh_data());
                (state.data_keys[from] == KeyState::DecryptOnly).then_some(Work::Reseal { from, to })
            }
        }?;
        Some(Page { event, work, read: self.has(Flaw::WholeRowStored).then_some(row) })
    }

    fn administrator_actions(&self, state: &State, actions: &mut Vec<Action>) {
        match state.administrator {
            Administrator::Idle => {}
            Administrator::Counted(change) => {
                if !self.waits(state, change) {
                    actions.push(Action::Lock(change));
                }
                return;
            }
            Administrator::Locked(_) => {
                actions.extend([Action::CommitChange, Action::AdministratorCrash]);
                return;
            }
        }
        let tokens = [Change::Announce, Change::CutOver, Change::Rollback, Change::TakeOut];
        let data = (0..self.data_keys).flat_map(|key| [Change::TakeOutData(key), Change::RetireData(key)]);
        let retired = (0..self.token_keys).map(Change::RetireToken);
        for change in tokens.into_iter().chain(data).chain(retired).filter(|change| self.permits(state, *change)) {
            let counts = self.has(Flaw::RetiredByCountBeforeLock) && matches!(change, Change::RetireData(_));
            if counts && self.nothing_is_left(state, change) {
                actions.push(Action::Count(change));
            } else if !counts && !self.waits(state, change) {
                actions.push(Action::Lock(change));
            }
        }
        let rotating = state.token_keys[state.to] == KeyState::Pending;
        let counted = state.job == Job::Filled || self.has(Flaw::CheckedBeforeFilled) && state.job == Job::Filling;
        if state.check == Check::No && rotating && counted && !self.has(Flaw::CountedNotChecked) {
            actions.extend((!state.table_is_written()).then_some(Action::AddCheck));
        }
        if state.check == Check::NotValid {
            actions.push(Action::Validate);
        }
        if state.check != Check::No && !state.table_is_written() {
            actions.push(Action::DropCheck);
        }
    }

    fn job_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let (to, hidden) = (state.to, state.hidden_token());
        let done = match state.job {
            Job::Filling => {
                let required = !state.optional || self.has(Flaw::DoneWithoutRequire);
                required && (self.has(Flaw::DoneWithoutCount) || state.rows().all(|row| state.is_filled(row, to)))
            }
            Job::Emptying => !state.rows().any(|row| self.is_left(state, row, hidden)),
            Job::No | Job::Filled | Job::Emptied => false,
        };
        if done {
            actions.push(Action::TellDone);
        }
        if state.job == Job::Filling && state.optional && !self.tokens_are_locked(state) {
            actions.push(Action::RequireKey);
        }
        for key in 0..self.data_keys {
            let left = || state.rows().any(|row| row.data_key == key);
            if state.data_keys[key] == KeyState::DecryptOnly && !state.resealed[key] && !left() {
                actions.push(Action::TellResealed(key));
            }
        }
    }
}

impl Model for Rotation {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut token_keys = [KeyState::Missing; TOKEN_KEYS];
        token_keys[0] = KeyState::Active;
        let mut data_keys = [KeyState::Missing; DATA_KEYS];
        data_keys[..self.data_keys].fill(KeyState::Active);
        let mut events = [Event::default(); EVENTS];
        events[0] = Event { row: Some(Row { data_key: 0, slots: [Some(0), None] }), acknowledged: true };
        let mut state = State { token_keys, data_keys, events, ..State::default() };
        let tokens = state.tokens_in_use();
        state.processes = [Process { tokens, ..Process::default() }; PROCESSES];
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        (0..self.processes).for_each(|number| self.process_actions(state, number, actions));
        (0..self.runners.len()).for_each(|number| self.runner_actions(state, number, actions));
        self.administrator_actions(state, actions);
        self.job_actions(state, actions);
        if self.snapshots {
            actions.push(if state.reader.is_none() { Action::TakeSnapshot } else { Action::DropSnapshot });
        }
        actions.extend((0..self.events).filter(|event| state.may_be_deleted(*event)).map(Action::Delete));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = *state;
        match action {
            Action::ReadKeys(process) => next.processes[process].batch = Batch::Reading(state.tokens_in_use()),
            Action::LockKeys(process) => next.lock_keys(process),
            Action::JudgeKeys(process) => self.judge_keys(&mut next, process),
            Action::Insert(process, event) => self.insert(&mut next, process, event),
            Action::Commit(process) => next.commit(process),
            Action::Acknowledge(process) => next.acknowledge(process),
            Action::ProcessCrash(process) => next.start(process),
            Action::Fetch(runner, page) => next.runners[runner] = Runner::Fetched(page),
            Action::Hold(runner) => next.hold(runner),
            Action::Update(runner) => self.update(&mut next, runner),
            Action::CommitPage(runner) => self.commit_page(&mut next, runner),
            Action::RunnerCrash(runner) => next.runners[runner] = Runner::Idle,
            Action::RequireKey => next.optional = false,
            Action::TellDone => next.job = if state.job == Job::Filling { Job::Filled } else { Job::Emptied },
            Action::TellResealed(key) => next.resealed[key] = true,
            Action::Count(change) => next.administrator = Administrator::Counted(change),
            Action::Lock(change) => next.administrator = Administrator::Locked(change),
            Action::CommitChange => self.commit_change(&mut next),
            Action::AdministratorCrash => next.administrator = Administrator::Idle,
            Action::AddCheck => next.check = Check::NotValid,
            Action::Validate => self.validate(&mut next),
            Action::DropCheck => self.drop_check(&mut next),
            Action::TakeSnapshot => next.take_snapshot(),
            Action::DropSnapshot => next.reader = None,
            Action::Delete(event) => next.delete(event),
        }
        let next = next.sorted(self.processes, self.runners);
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
