//! What must always hold, and what must be reached so that this means something.

use stateright::Property;

use super::protocol::Rotation;
use super::state::{
    Administrator, Batch, Change, Check, Job, KeyState, Page, Process, Row, Runner, Snapshot, State, Work,
};

pub(crate) const VIEW: &str = "a statement sees each event under the active token key";
pub(crate) const OLD_SNAPSHOT: &str = "a statement of an old snapshot sees all events under one token key";
pub(crate) const RETIRED: &str = "no row is under a retired key";
pub(crate) const DONE: &str = "a job that is done has left no row, and none comes later";
pub(crate) const STORED: &str = "what is acknowledged is stored";
pub(crate) const ONCE: &str = "no row is counted twice";
pub(crate) const NOT_STOPPED: &str = "the CHECK stops no batch and no re-sealing";
pub(crate) const GOES_ON: &str = "a batch with the keys of the moment passes the CHECK";

type Rule = Property<Rotation>;

pub(crate) fn all() -> Vec<Rule> {
    vec![
        Rule::always(VIEW, |_, state| state.rows().all(|row| shows_active(state, row.slots[state.view]))),
        Rule::always(OLD_SNAPSHOT, |_, state| snapshot(state).all(|slots| shows_active(state, slots[state.view]))),
        Rule::always(RETIRED, no_row_is_under_a_retired_key),
        Rule::always(DONE, what_is_done_is_done),
        Rule::always(STORED, |_, state| state.events.iter().all(|event| !event.acknowledged || event.row.is_some())),
        Rule::always(ONCE, |_, state| !state.counted_twice),
        Rule::always(NOT_STOPPED, |_, state| !state.stopped),
        Rule::always(GOES_ON, |_, state| state.check == Check::No || slots_in_use(state) == [true; 2]),
        Rule::sometimes("a batch waits for the pending key", |_, state| {
            let reading = state.processes.iter().any(|process| matches!(process.batch, Batch::Reading(_)));
            reading && state.administrator == Administrator::Locked(Change::Announce)
        }),
        Rule::sometimes("the first statement of hold_keys missed a key that is required by now", |_, state| {
            state.processes.iter().any(|process| match process.batch {
                Batch::Locked(locked) => !state.optional && locked == process.tokens && locked != state.tokens_in_use(),
                _ => false,
            })
        }),
        Rule::sometimes("a batch goes without the pending key, while its rows are filled", |_, state| {
            let lacks = |process: &Process| matches!(process.batch, Batch::Inserted(..)) && !process.tokens[state.to];
            state.job == Job::Filling && state.optional && state.processes.iter().any(lacks)
        }),
        Rule::sometimes("a batch that lacks a key is refused once it is required", |_, state| {
            let lacks = |process: &Process| matches!(process.batch, Batch::Locked(_)) && !process.tokens[state.to];
            state.job == Job::Filling && !state.optional && state.processes.iter().any(lacks)
        }),
        Rule::sometimes("a batch fills both slots", |_, state| inserts(state) && state.job == Job::Filling),
        Rule::sometimes("a batch goes on under a CHECK", |_, state| inserts(state) && state.check == Check::NotValid),
        Rule::sometimes("a batch goes on behind the cut-over", |_, state| {
            inserts(state) && older(state) == KeyState::Pending
        }),
        Rule::sometimes("a batch goes on while the old slot is emptied", |_, state| {
            inserts(state) && older(state) == KeyState::DecryptOnly
        }),
        Rule::sometimes("a batch goes on once the old token key is retired", |_, state| {
            inserts(state) && older(state) == KeyState::Retired
        }),
        Rule::sometimes("a batch goes on once the old data key is retired", |_, state| {
            inserts(state) && state.data_keys[0] == KeyState::Retired
        }),
        Rule::sometimes("the cut-over waits for a snapshot", |_, state| {
            state.check == Check::Valid && state.reader.is_some_and(|snapshot| snapshot.older)
        }),
        Rule::sometimes("a snapshot outlives finish", |_, state| {
            let with_old = |slots: [Option<usize>; 2]| slots[0].is_some();
            state.job == Job::Emptied && snapshot(state).any(with_old)
        }),
        Rule::sometimes("the cut-over is rolled back", |_, state| {
            state.administrator == Administrator::Locked(Change::Rollback)
        }),
        Rule::sometimes("the new key is given up, and another takes its slot", |_, state| {
            state.token_keys == [KeyState::Pending, KeyState::Retired, KeyState::Active]
        }),
        Rule::sometimes("two runners have the same row", |_, state| {
            let page = |runner: Runner| match runner {
                Runner::Fetched(page) | Runner::Held(page) | Runner::Updated(page) => Some(page),
                Runner::Idle => None,
            };
            page(state.runners[0]).is_some() && page(state.runners[0]) == page(state.runners[1])
        }),
        Rule::sometimes("a row is re-sealed while it waits to be filled", |_, state| {
            let fills = |page: Page| matches!(page.work, Work::Fill(_));
            let reseals = |page: Page| matches!(page.work, Work::Reseal { .. });
            match state.runners {
                [Runner::Fetched(a), Runner::Updated(b)] => fills(a) && reseals(b) && a.event == b.event,
                _ => false,
            }
        }),
        Rule::sometimes("a second rotation is finished", |_, state| {
            state.token_keys == [KeyState::Retired, KeyState::Retired, KeyState::Active]
        }),
    ]
}

/// More than that nothing is mixed: it is the active key's, and is there.
fn shows_active(state: &State, shown: Option<usize>) -> bool {
    shown.is_some_and(|key| state.token_keys[key] == KeyState::Active)
}

fn snapshot(state: &State) -> impl Iterator<Item = [Option<usize>; 2]> {
    state.reader.into_iter().flat_map(|Snapshot { slots, .. }| slots).flatten()
}

fn no_row_is_under_a_retired_key(_: &Rotation, state: &State) -> bool {
    state.rows().all(|Row { data_key, slots }| {
        let token_keys = slots.iter().flatten().map(|key| state.token_keys[*key]);
        token_keys.chain([state.data_keys[*data_key]]).all(|key| key != KeyState::Retired)
    })
}

fn what_is_done_is_done(_: &Rotation, state: &State) -> bool {
    let hidden = state.hidden_token();
    let tokens = state.rows().all(|row| match state.job {
        Job::No | Job::Filling | Job::Emptying => true,
        Job::Filled => row.slots.iter().all(Option::is_some),
        Job::Emptied => !state.is_under(row, hidden),
    });
    tokens && state.rows().all(|row| !state.resealed[row.data_key])
}

fn inserts(state: &State) -> bool {
    state.processes.iter().any(|process| matches!(process.batch, Batch::Inserted(..)))
}

/// The state of the token key that the rotation began with.
fn older(state: &State) -> KeyState {
    state.token_keys[state.from]
}

fn slots_in_use(state: &State) -> [bool; 2] {
    let mut slots = [false; 2];
    let in_use = state.tokens_in_use();
    (0..in_use.len()).filter(|key| in_use[*key]).for_each(|key| slots[state.slots[key]] = true);
    slots
}
